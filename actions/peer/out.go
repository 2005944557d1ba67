package peer

import (
	"context"
	"net"
	"net/http"

	"stillwatch/internal/netguard"
)

// Out is how peers are reached: TLS by what is encrypted, Plain by what is
// not, which may be allowed less.
type Out struct{ TLS, Plain *netguard.Client }

// Do sends a request; it is what libraries take as an HTTP client.
func (o Out) Do(req *http.Request) (*http.Response, error) {
	return o.by(req.URL == nil || req.URL.Scheme == "http").Do(req)
}

// Dial connects to host:port for a protocol that is encrypted or not.
func (o Out) Dial(ctx context.Context, plain bool, hostport string) (net.Conn, error) {
	return o.by(plain).DialContext(ctx, "tcp", hostport)
}

func (o Out) by(plain bool) *netguard.Client {
	if plain {
		return o.Plain
	}
	return o.TLS
}
