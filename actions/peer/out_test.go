package peer

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"stillwatch/internal/netguard"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestWhatIsNotEncryptedGoesThroughItsOwnGuard(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	open := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	defer open.Close()
	shut := netguard.New(netguard.Config{})
	defer shut.Close()
	for _, tc := range []struct {
		out          Out
		plain, crypt bool // let through
	}{{Out{TLS: shut, Plain: open}, true, false}, {Out{TLS: open, Plain: shut}, false, true}} {
		for scheme, through := range map[string]bool{"http": tc.plain, "https": tc.crypt} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+s.Listener.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := tc.out.Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			refused := (*netguard.RefusedError)(nil)
			if errors.As(err, &refused) == through {
				t.Errorf("%s: %v, want it let through: %v", scheme, err, through)
			}
			conn, err := tc.out.Dial(t.Context(), scheme == "http", s.Listener.Addr().String())
			if (err == nil) != through {
				t.Errorf("dial for %s: %v, want it let through: %v", scheme, err, through)
			}
			if err == nil {
				_ = conn.Close()
			}
		}
	}
}
