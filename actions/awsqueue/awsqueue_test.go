package awsqueue

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func TestBodiesAsText(t *testing.T) {
	t.Parallel()
	for body, packed := range map[string]bool{
		`{"plain":"ü 漢 😀"}`: false, "{\"tab\":\t1\r\n}": false, `{}`: false,
		"{\"nul\":\"\x00\"}": true, "{\"odd\":\"\uFFFE\"}": true, "{\"broken\":\"\xff\"}": true,
	} {
		text, err := Text([]byte(body), false)
		if err != nil || (text != body) != packed {
			t.Errorf("%q becomes %q, %v", body, text, err)
		}
	}
	if text, err := Text([]byte(`{}`), true); err != nil || !strings.HasPrefix(text, "H4sI") {
		t.Errorf("compressed it is %q, %v", text, err)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	for key, want := range map[string]string{
		"default:abc": "default:abc", "default:abc/bob": "default:abc", "": "-", "/bob": "-",
		"a b\nü": "a_b__", long: long[:128],
	} {
		if got := Group(key); got != want {
			t.Errorf("%q is of group %q, want %q", key, got, want)
		}
	}
}

// TestARoleIsAssumedWithTheHooksKey has a service of its own, for the test
// server knows no roles.
func TestARoleIsAssumedWithTheHooksKey(t *testing.T) {
	t.Parallel()
	var asked, signed string
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		asked, signed = r.Form.Get("RoleArn")+" as "+r.Form.Get("RoleSessionName"), r.Header.Get("Authorization")
		_, _ = w.Write([]byte(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>` +
			`<AccessKeyId>ASIATEMP</AccessKeyId><SecretAccessKey>temporary</SecretAccessKey><SessionToken>token</SessionToken>` +
			`<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`))
	}))
	defer sts.Close()
	c := Client{HTTP: sts.Client(), STSEndpoint: sts.URL}
	cfg, err := c.Config(t.Context(), Auth{Type: AuthRole, Key: "AKIATEST", Secret: "secret", RoleARN: "arn:aws:iam::1:role/r"}, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	if asked != "" {
		t.Error("asked before there is anything to send")
	}
	got, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if asked != "arn:aws:iam::1:role/r as stillwatch" || !strings.Contains(signed, "Credential=AKIATEST/") {
		t.Errorf("asked for %q, signed %q", asked, signed)
	}
	if got.AccessKeyID != "ASIATEMP" || got.SessionToken != "token" || cfg.Region != "eu-west-1" {
		t.Errorf("signs as %+v in %s", got, cfg.Region)
	}
}

func TestWhoSigns(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAMACHINE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "machine")
	t.Setenv("AWS_ENDPOINT_URL", "http://192.0.2.1") // is the machine's, not a hook's
	for _, tc := range []struct {
		auth Auth
		want string
	}{
		{Auth{Key: "AKIAHOOK", Secret: "s"}, "AKIAHOOK"},
		{Auth{Type: AuthKeys, Key: "AKIAHOOK", Secret: "s"}, "AKIAHOOK"},
		{Auth{Type: AuthResource, Key: "AKIAHOOK"}, "AKIAMACHINE"},
		{Auth{}, "AKIAMACHINE"},
	} {
		cfg, err := Client{}.Config(t.Context(), tc.auth, "eu-west-1")
		if err != nil {
			t.Fatal(err)
		}
		got, err := cfg.Credentials.Retrieve(t.Context())
		if err != nil || got.AccessKeyID != tc.want {
			t.Errorf("%+v signs as %q, %v", tc.auth, got.AccessKeyID, err)
		}
		if cfg.BaseEndpoint != nil {
			t.Errorf("requests go to %s", aws.ToString(cfg.BaseEndpoint))
		}
	}
	if _, err := (Client{}).Config(t.Context(), Auth{Type: "magic"}, ""); err == nil {
		t.Error("any way to sign is known")
	}
}
