package testkit

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// S3 is an S3 server with one empty bucket.
type S3 struct {
	Endpoint, Bucket, AccessKey, SecretKey string
}

// URL is the bucket's address, as blob.url takes it.
func (s S3) URL() string {
	return fmt.Sprintf("s3://%s?region=us-east-1&endpoint=%s&path_style=true", s.Bucket, s.Endpoint)
}

// MinIO starts a MinIO server on a free port of 127.0.0.1. Its binary is
// looked for in PATH and in build/tools under the module's root.
func MinIO(t testing.TB) S3 {
	t.Helper()
	bin, err := exec.LookPath("minio")
	if err != nil {
		bin = filepath.Join(ModuleRoot(t), "build", "tools", "minio")
		if _, err := os.Stat(bin); err != nil {
			t.Skip("minio is not installed (make setup builds it into build/tools)")
		}
	}
	dir := shortDir(t)
	s := S3{Bucket: "stillwatch-test", AccessKey: "testkit", SecretKey: "testkit-secret"}
	// To MinIO on one disk, a folder is a bucket.
	if err := os.Mkdir(filepath.Join(dir, s.Bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	s.Endpoint = "http://" + addr
	cmd := exec.Command(bin, "server", "--quiet", "--address", addr,
		"--console-address", fmt.Sprintf("127.0.0.1:%d", FreePort(t)), dir)
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run(t, cmd, syscall.SIGTERM)
	awaitDial(t, "tcp", addr)
	Eventually(t, 30*time.Second, func() bool {
		// Its own word on being ready comes before it takes requests: until
		// then they are answered 503, not that nobody may see this.
		resp, err := http.Get(s.Endpoint + "/" + s.Bucket + "/x")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusForbidden
	}, "MinIO is ready")
	http.DefaultClient.CloseIdleConnections()
	return s
}
