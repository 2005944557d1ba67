package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbitScript starts the server as whoever runs it; the command in PATH
// would change to a user of its own.
const rabbitScript = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// Rabbit is a RabbitMQ server that a test can stop and start again. What was
// persistent is there again then.
type Rabbit struct {
	// URL has a user who may do everything in the one virtual host.
	URL  string
	t    testing.TB
	dir  string
	port int
	env  []string
	end  func()
}

// RabbitMQ starts a server on a free port of 127.0.0.1, with a port mapper
// and a cookie of its own.
func RabbitMQ(t testing.TB) *Rabbit {
	t.Helper()
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		t.Skip("Erlang's epmd is not installed (make setup installs rabbitmq-server)")
	}
	if _, err := os.Stat(rabbitScript); err != nil {
		t.Skip("rabbitmq-server is not installed (make setup installs it)")
	}
	dir, port, mapper := shortDir(t), FreePort(t), strconv.Itoa(FreePort(t))
	r := &Rabbit{t: t, dir: dir, port: port, URL: fmt.Sprintf("amqp://stillwatch:rabbit-secret@127.0.0.1:%d/", port)}
	r.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8",
		"ERL_EPMD_PORT=" + mapper, "ERL_EPMD_ADDRESS=127.0.0.1", "ERL_CRASH_DUMP_SECONDS=0",
		// The script then becomes the server instead of a parent of it.
		"RABBITMQ_ALLOW_INPUT=1",
		fmt.Sprintf("RABBITMQ_NODENAME=tk%d@localhost", port), fmt.Sprintf("RABBITMQ_DIST_PORT=%d", FreePort(t)),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"), "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE=" + r.write("rabbitmq.conf", fmt.Sprintf(
			"listeners.tcp.1 = 127.0.0.1:%d\ndefault_user = stillwatch\ndefault_pass = rabbit-secret\n", port)),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + r.write("plugins", "[]."), "RABBITMQ_CONF_ENV_FILE=" + r.write("env", ""),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -kernel inet_dist_use_interface {127,0,0,1}",
	}
	cmd := exec.Command(epmd, "-port", mapper, "-address", "127.0.0.1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run(t, cmd, syscall.SIGTERM)
	awaitDial(t, "tcp", "127.0.0.1:"+mapper)
	r.Start()
	return r
}

func (r *Rabbit) write(name, text string) string {
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// Start starts the server after Stop and waits until it takes connections.
func (r *Rabbit) Start() {
	r.t.Helper()
	cmd := exec.Command(rabbitScript)
	cmd.Env, cmd.Dir = r.env, r.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.end = run(r.t, cmd, syscall.SIGTERM)
	Eventually(r.t, 2*time.Minute, func() bool {
		c, err := amqp.Dial(r.URL)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}, "RabbitMQ takes connections")
}

// Stop ends the server in order.
func (r *Rabbit) Stop() { r.end() }

// Control runs a command of rabbitmqctl on the server.
func (r *Rabbit) Control(args ...string) {
	r.t.Helper()
	cmd := exec.Command(filepath.Join(filepath.Dir(rabbitScript), "rabbitmqctl"), args...)
	cmd.Env, cmd.Dir = r.env, r.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("rabbitmqctl %v: %v\n%s", args, err, out)
	}
}

// Channel opens a channel of a connection that ends with the test.
func (r *Rabbit) Channel() *amqp.Channel {
	r.t.Helper()
	c, err := amqp.Dial(r.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	ch, err := c.Channel()
	if err != nil {
		r.t.Fatal(err)
	}
	return ch
}
