package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"stillwatch/internal/testkit"
)

// waysOut are the names, by package, by which a program reaches others
// without internal/netguard, or may: whoever makes a request has to tell how
// it is sent. Methods cannot be told apart by their names alone.
var waysOut = map[string][]string{
	"net/http": {
		"DefaultClient", "DefaultTransport", "Client", "Transport", "Get", "Head", "Post", "PostForm",
		"NewRequest", "NewRequestWithContext",
	},
	"net":                                    {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer"},
	"crypto/tls":                             {"Dial", "DialWithDialer", "Dialer"},
	"github.com/redis/go-redis/v9":           {"NewClient", "NewUniversalClient", "NewClusterClient", "NewFailoverClient", "NewRing"},
	"github.com/rabbitmq/amqp091-go":         {"Dial", "DialTLS", "DialTLS_ExternalAuth", "DialConfig"},
	"github.com/aws/aws-sdk-go-v2/config":    {"LoadDefaultConfig"},
	"github.com/gorilla/websocket":           {"DefaultDialer", "Dialer"},
	"golang.org/x/oauth2":                    {"NewClient"},
	"cloud.google.com/go/storage":            {"NewClient", "NewGRPCClient"},
	"google.golang.org/grpc":                 {"NewClient", "Dial", "DialContext"},
	"gocloud.dev/gcp":                        {"DefaultTransport", "NewAnonymousHTTPClient"},
	"gocloud.dev/blob":                       {"OpenBucket"},
	"golang.org/x/net/proxy":                 {"FromEnvironment", "Dial"},
	"github.com/Azure/azure-sdk-for-go/sdk/": {"NewDefaultAzureCredential", "NewManagedIdentityCredential", "NewEnvironmentCredential"},
}

// mayUse are the packages that have a reason to, and it. A reason that is no
// longer needed fails the test as well.
var mayUse = map[string]map[string]string{
	"internal/netguard": {
		"Client": "this is the one client", "Transport": "and its transport", "Dialer": "and its dialer",
	},
	"internal/bus": {"NewClient": "our own Redis, from the settings or on a socket in the data folder"},
	"internal/blob": {
		"NewClient":         "of Google's storage, over netguard's HTTP client",
		"Client":            "asks the operator's own bucket",
		"LoadDefaultConfig": "keys and region of the operator's own bucket and the machine's role; requests to storages from the API go through netguard",
	},
	"internal/synthetic": {
		"Client":                "synthetic participants publish to the server that the operator names",
		"NewRequest":            "the same",
		"NewRequestWithContext": "the same",
	},
	"recording/archive": {"NewRequestWithContext": "a push, sent by netguard's client that cmd hands in"},
	"recording/stream":  {"NewRequestWithContext": "a live stream, sent by netguard's client that cmd hands in"},
	"internal/testkit": {
		"DefaultClient": "tests only: asks servers of their own", "Get": "the same", "DialTimeout": "the same", "Dial": "the same",
		"NewRequestWithContext": "the same",
	},
	"capture/ingest/ingesttest": {"DefaultTransport": "tests only: asks the server under test", "NewRequestWithContext": "the same"},
	"cmd/stillwatch": {
		"Client":                "the benchmark and the command line ask our own server",
		"Transport":             "the same",
		"NewRequest":            "the same",
		"NewRequestWithContext": "the same",
	},
	"moderation":          {"NewRequestWithContext": "pictures of checks, sent by Config's Fetcher, which is netguard's client"},
	"actions/webhook":     {"NewRequestWithContext": "sent by the netguard client of Config.Client"},
	"actions/amqp":        {"DialConfig": "connects by its Config.Dial, which is netguard's"},
	"actions/redisstream": {"NewClient": "our own Redis; others by netguard, in its Dialer"},
	"actions/awsqueue": {
		"LoadDefaultConfig": "the machine's role; requests to queues go through netguard",
	},
}

func TestEverythingThatGoesOutGoesThroughNetguard(t *testing.T) {
	t.Parallel()
	found := map[string]map[string]bool{}
	files := 0
	for name, file := range goFiles(t) {
		files++
		dir := path.Dir(name)
		for _, use := range outgoing(file) {
			if mayUse[dir][use.name] == "" {
				t.Errorf("%s uses %s of %s: go through internal/netguard, or give a reason in mayUse", name, use.name, use.pkg)
			}
			if found[dir] == nil {
				found[dir] = map[string]bool{}
			}
			found[dir][use.name] = true
		}
	}
	if files < 100 {
		t.Fatalf("%d files looked at only", files)
	}
	for dir, reasons := range mayUse {
		for name := range reasons {
			if !found[dir][name] {
				t.Errorf("%s no longer uses %s: take it out of mayUse", dir, name)
			}
		}
	}
}

// goFiles parses the module's files that are no tests, by path in it.
func goFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	root, set, files := testkit.ModuleRoot(t), token.NewFileSet(), map[string]*ast.File{}
	err := filepath.WalkDir(root, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, at)
		if e.IsDir() {
			base := e.Name()
			if rel != "." && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "testdata" || rel == "build" || rel == "data" || rel == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(at, ".go") || strings.HasSuffix(at, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(set, at, nil, parser.SkipObjectResolution)
		files[filepath.ToSlash(rel)] = file
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

type use struct{ pkg, name string }

// outgoing lists a file's ways out. A pointer to a type, as in a parameter,
// makes no client and is none.
func outgoing(file *ast.File) (uses []use) {
	names := map[string]string{} // as imported: path
	for _, imp := range file.Imports {
		p := strings.Trim(imp.Path.Value, `"`)
		name := path.Base(p)
		if strings.HasPrefix(name, "v") && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(p))
		}
		name = strings.TrimPrefix(strings.TrimSuffix(name, "-go"), "go-")
		if imp.Name != nil {
			name = imp.Name.Name
		}
		names[name] = p
	}
	pointers := map[ast.Expr]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if star, ok := n.(*ast.StarExpr); ok {
			pointers[star.X] = true
		}
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || pointers[sel] {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && forbidden(names[x.Name], sel.Sel.Name) {
			uses = append(uses, use{names[x.Name], sel.Sel.Name})
		}
		return true
	})
	return uses
}

func forbidden(pkg, name string) bool {
	for p, list := range waysOut {
		if p != pkg && (!strings.HasSuffix(p, "/") || !strings.HasPrefix(pkg, p)) {
			continue
		}
		for _, n := range list {
			if n == name {
				return true
			}
		}
	}
	return false
}

func TestOutgoingFindsEveryWay(t *testing.T) {
	t.Parallel()
	const src = `package x
import (
	"net"
	"net/http"
	web "net/http"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	azid "github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)
var a = http.DefaultClient
var b = &http.Client{}
var c http.Client
var d = new(web.Transport)
func e(c *http.Client, t *http.Transport) { _, _ = http.Get("x"); _, _ = net.Dial("tcp", "x"); _ = net.Dialer{} }
func f() { _, _ = amqp.Dial("x"); _ = redis.NewClient(nil); _, _ = azid.NewDefaultAzureCredential(nil); http.NewRequest("x", "y", nil) }
func g() { _ = http.StatusOK; _ = net.ParseIP("x") }
`
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range outgoing(file) {
		got = append(got, u.name)
	}
	const want = "DefaultClient Client Client Transport Get Dial Dialer Dial NewClient NewDefaultAzureCredential NewRequest"
	if strings.Join(got, " ") != want {
		t.Errorf("found %s\nwant  %s", strings.Join(got, " "), want)
	}
}
