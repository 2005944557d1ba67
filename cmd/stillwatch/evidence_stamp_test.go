package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/evidence"
	"stillwatch/internal/testkit"
)

// authority is a time-stamping authority: openssl behind an address.
type authority struct {
	t        *testing.T
	dir, url string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	config := `[req]
distinguished_name = dn
prompt = no
x509_extensions = ext
[dn]
CN = authority
[ext]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = one
[one]
serial = ` + a.dir + `/serial
signer_cert = ` + a.dir + `/cert.pem
signer_key = ` + a.dir + `/key.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
`
	for name, text := range map[string]string{"tsa.cnf": config, "serial": "01\n"} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-config", a.dir+"/tsa.cnf", "-keyout", a.dir+"/key.pem", "-out", a.dir+"/cert.pem")
	srv := &http.Server{Handler: a, ReadHeaderTimeout: 5 * time.Second}
	l := listen(t)
	a.url = "http://" + l.Addr().String() + "/tsa"
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return a
}

func (a *authority) openssl(args ...string) {
	a.t.Helper()
	if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
		a.t.Errorf("openssl %v: %v\n%s", args, err, out)
	}
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "application/timestamp-query" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	ask, reply := filepath.Join(a.dir, "query"), filepath.Join(a.dir, "reply")
	if err := os.WriteFile(ask, query, 0o600); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	a.openssl("ts", "-reply", "-queryfile", ask, "-config", a.dir+"/tsa.cnf", "-out", reply)
	text, err := os.ReadFile(reply)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	_, _ = w.Write(text)
}

// TestBulletinsAreStampedAndStoredElsewhere: in a real bucket, with stamps that
// openssl verifies.
func TestBulletinsAreStampedAndStoredElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the command line's test publishes too")
	}
	a := newAuthority(t)
	r := startRig(t)
	s3 := testkit.MinIO(t)
	body := fmt.Sprintf(`{"name":"second","storage_type":"s3","bucket":%q,"aws_s3":{"s3_api_key":%q,"s3_secret":%q,"s3_custom_endpoint_url":%q}}`,
		s3.Bucket, s3.AccessKey, s3.SecretKey, s3.Endpoint)
	if status := r.api("POST", "/api/v2/external_storage", body, nil); status != http.StatusCreated {
		t.Fatal(status)
	}
	cfg := r.cfg
	cfg.Evidence.PublishStorage, cfg.Evidence.TSAURL = "second", a.url
	h := &headPublisher{cfg: cfg, db: r.db, stores: r.stores, log: r.log, now: time.Now, client: func(plain bool) *http.Client { return r.guardFor(plain).HTTPClient() }}
	var err error
	if h.key, err = evidence.LoadKey(filepath.Join(cfg.Data.Dir, "evidence.key")); err != nil {
		t.Fatal(err)
	}
	if err := h.publish(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text, reply := filepath.Join(dir, "0.json"), filepath.Join(dir, "0.tsr")
	for name, key := range map[string]string{text: "evidence-heads/00000000.json", reply: "evidence-heads/00000000.tsr"} {
		b, err := r.stores.Get(t.Context(), "@second/"+key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.openssl("ts", "-verify", "-data", text, "-in", reply, "-CAfile", a.dir+"/cert.pem")
	all, err := evidence.ReadBulletins(dir)
	if err != nil || len(all) != 1 || evidence.VerifyBulletins(all, h.key.Public()) != nil {
		t.Errorf("%d bulletins, %v", len(all), err)
	}
	stamp, err := os.ReadFile(reply)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.CheckTimestamp(stamp, []byte("another text"), nil); err == nil {
		t.Error("the stamp is taken for another text")
	}
}
