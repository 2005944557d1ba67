// Package config holds every setting of the program, its default and its
// check.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// Config is every setting. The key of a field in the file is the path of its
// `koanf` tags ("http.listen"); its environment variable is that in capitals
// with STILLWATCH_ in front and underscores for dots (STILLWATCH_HTTP_LISTEN).
// The environment wins over the file.
type Config struct {
	HTTP struct {
		Listen    string `koanf:"listen" doc:"TCP address of the API, the console and WHIP signalling."`
		PublicURL string `koanf:"public_url" doc:"Origin that clients reach the server by; empty: http:// and http.listen."`
		RateLimit int    `koanf:"rate_limit" doc:"Requests a minute that the API takes from a user, and 20 times that from the backend, 0 to 1000000; 0: no limit."`
	} `koanf:"http"`
	Media struct {
		Listen    string   `koanf:"listen" doc:"UDP address for all media, and TCP for clients that cannot use UDP."`
		PublicIPs []string `koanf:"public_ips" doc:"Addresses to announce instead of the local ones, when behind a one-to-one NAT."`
		MaxPeers  int      `koanf:"max_peers" doc:"Most connections (publishers and viewers) this node takes, 1 to 100000; more get 503."`
	} `koanf:"media"`
	Data struct {
		Dir string `koanf:"dir" doc:"Folder for everything kept on this machine."`
	} `koanf:"data"`
	Auth struct {
		APIKey    string `koanf:"api_key" doc:"API key; empty: made at the first start and kept in the data folder."`
		APISecret string `koanf:"api_secret" secret:"yes" doc:"Secret that signs tokens and webhooks, 32 characters or more; empty: made at the first start."`
		MasterKey string `koanf:"master_key" secret:"yes" doc:"Key that stored secrets of hooks and storages are sealed with, 32 bytes as hex or base64, the same on all machines; empty: made at the first start and kept in the data folder."`
	} `koanf:"auth"`
	Redis struct {
		URL string `koanf:"url" secret:"yes" doc:"redis://, rediss:// or unix:// of a Redis 7; empty: one is started as a child on a socket in the data folder."`
	} `koanf:"redis"`
	Database struct {
		URL string `koanf:"url" secret:"yes" doc:"postgres:// of a PostgreSQL 15 or later, or sqlite:///path; empty: SQLite in the data folder."`
	} `koanf:"database"`
	Blob struct {
		URL            string `koanf:"url" secret:"yes" doc:"s3://bucket?region=...&endpoint=... or file:///path; empty: a folder in the data folder."`
		DeleteExternal bool   `koanf:"delete_external" doc:"Whether frames and recordings whose retention is over are deleted in external storages as well; if not, they are only no longer listed."`
	} `koanf:"blob"`
	Netguard struct {
		Allow []string `koanf:"allow" doc:"CIDRs that webhooks may reach besides public addresses, e.g. 10.20.0.0/16."`
	} `koanf:"netguard"`
	Capture struct {
		DefaultMode string        `koanf:"default_mode" doc:"Frame recording mode of the call type default when the database is made: auto-on, available or disabled."`
		Workers     int           `koanf:"workers" doc:"Sandboxed decoder processes, 0 to 256; 0: one a core."`
		Retention   time.Duration `koanf:"retention" doc:"How long frames are kept, 1m to 87600h."`
	} `koanf:"capture"`
	Recording struct {
		Record             string `koanf:"record" doc:"What is recorded of calls whose caller has no recording permissions, nor their domain: none, all, video or audio."`
		RecordIncomingPSTN bool   `koanf:"record_incoming_pstn" doc:"Whether calls that come in by SIP are recorded, whatever permissions say."`
		Dir                string `koanf:"dir" doc:"Folder for packets on their way to be files, encrypted, and for files in the making; empty: recordings in the data folder."`
		Workers            int    `koanf:"workers" doc:"Steps of recordings that are done at once, 0 to 256; 0: one a core."`
		Prefix             string `koanf:"prefix" doc:"What the keys of stored recordings begin with."`
		Backup             string `koanf:"backup_storage" doc:"External storage that takes recordings when the one meant for them refuses; empty: our own."`

		FlagGrace     time.Duration `koanf:"flag_grace" doc:"How long after its end a call's packets wait for a flag, 0s to 10m."`
		SpoolBytes    int64         `koanf:"spool_bytes" doc:"Most bytes of packets kept of one session, 1048576 or more."`
		SpoolMaxBytes int64         `koanf:"spool_max_bytes" doc:"Most bytes of packets kept of all sessions together, 1048576 or more; 0: as much as min_free leaves. Beyond, the packets there for longest of calls that nobody flagged or asked to record are given up."`
		MinFree       int           `koanf:"min_free" doc:"How much of the disk of recording.dir is to stay free, 0 to 90 percent; with less, the packets there for longest of calls that nobody flagged or asked to record are given up. 0: no bound."`
		KeepFailed    time.Duration `koanf:"keep_failed" doc:"How long the packets of a recording that failed are kept, 1m to 8760h."`
		StoreFor      time.Duration `koanf:"store_for" doc:"How long a store that is away is waited for, 0s to 720h."`
		Handover      bool          `koanf:"handover" doc:"Whether the packets of calls that are kept go through the object store, encrypted, so that all machines on one database make files of them; it needs database.url, blob.url and the same auth.master_key on all."`

		CleanTemporaryFiles bool `koanf:"clean_temporary_files" doc:"Whether the files that stored ones were made of are removed; if not, they stay in work in recording.dir, not encrypted, until one of the recording's stored files is deleted. Of recordings that are stored encrypted they are always removed."`
	} `koanf:"recording"`
	Evidence struct {
		PublishStorage string `koanf:"publish_storage" doc:"External storage in which the signed heads of evidence are published daily and at each export; empty: none."`
		PublishPrefix  string `koanf:"publish_prefix" doc:"What the keys of published heads begin with."`
		PublishURL     string `koanf:"publish_url" secret:"1" doc:"Address that heads are posted to as well, or instead; empty: none. The rules of webhook addresses hold."`
		TSAURL         string `koanf:"tsa_url" secret:"1" doc:"Time-stamping authority (RFC 3161) that stamps each bulletin of heads; empty: none. The rules of webhook addresses hold."`
	} `koanf:"evidence"`
	Models struct {
		Dir     string `koanf:"dir" doc:"Folder with one folder a model."`
		Runtime string `koanf:"runtime" doc:"Path of libonnxruntime.so."`
		Small   string `koanf:"small" doc:"Model that looks at every frame."`
		Large   string `koanf:"large" doc:"Model that looks where the small one is not sure; empty: none."`
		Reuse   int    `koanf:"reuse" doc:"How many times in a row an unchanged picture (the same perceptual hash) takes over a harmless verdict of its predecessor, 1 to 100; -1: never."`
		Workers int    `koanf:"workers" doc:"Classifier sessions of one thread each, 0 to 256; 0: one a core."`
	} `koanf:"models"`
	Policy struct {
		File string `koanf:"file" doc:"YAML file with the moderation policy; empty: the built-in one."`
	} `koanf:"policy"`
	Webhook struct {
		URL       string `koanf:"url" doc:"Where events are posted to besides the hooks set through the API; empty: nowhere."`
		PlainHTTP bool   `koanf:"plain_http" doc:"Let events go to any http:// address, unencrypted, for development; false: only to ranges of netguard.allow."`
	} `koanf:"webhook"`
	Log struct {
		Level  string `koanf:"level" doc:"debug, info, warn or error."`
		Format string `koanf:"format" doc:"text or json."`
	} `koanf:"log"`
}

// Default returns the settings of one machine with everything embedded.
func Default() Config {
	var c Config
	c.HTTP.Listen = "127.0.0.1:8080"
	c.HTTP.RateLimit = 3000
	c.Media.Listen = "127.0.0.1:7882"
	c.Media.MaxPeers = 2000
	c.Data.Dir = "./data"
	c.Capture.DefaultMode = "auto-on"
	c.Capture.Retention = 14 * 24 * time.Hour
	c.Recording.Record = "none"
	c.Recording.Prefix = "recordings"
	c.Recording.FlagGrace = 10 * time.Second
	c.Recording.SpoolBytes = 64 << 30
	c.Recording.MinFree = 10
	c.Recording.KeepFailed = 7 * 24 * time.Hour
	c.Recording.StoreFor = 24 * time.Hour
	c.Recording.CleanTemporaryFiles = true
	c.Evidence.PublishPrefix = "evidence-heads"
	c.Models.Dir = "./build/models"
	c.Models.Runtime = "./build/lib/libonnxruntime.so.1"
	c.Models.Small = "mobilenet_v2"
	c.Models.Large = "inception_v3"
	c.Models.Reuse = 4
	c.Log.Level = "info"
	c.Log.Format = "text"
	return c
}

// Error is one setting that cannot be used.
type Error struct {
	Key, Value, Want string
}

// Error says which setting, what it is and what it should be.
func (e *Error) Error() string {
	return fmt.Sprintf("setting %s is %q: want %s", e.Key, e.Value, e.Want)
}

// Load reads the defaults, then the YAML file at path ("" for none), then the
// environment, and checks the whole. An unknown key, in the file or in an
// environment variable that begins with STILLWATCH_, is an error.
func Load(path string, environ []string) (Config, error) {
	c := Default()
	k := koanf.New(".")
	known := Fields()
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return c, fmt.Errorf("read settings %s: %w", path, err)
		}
		for _, key := range k.Keys() {
			if !slices.ContainsFunc(known, func(f Field) bool { return f.Key == key }) {
				return c, fmt.Errorf("read settings %s: unknown key %q", path, key)
			}
		}
	}
	env, err := fromEnviron(known, environ)
	if err != nil {
		return c, err
	}
	if err := k.Load(confmap.Provider(env, "."), nil); err != nil {
		return c, fmt.Errorf("read environment: %w", err)
	}
	if err := k.Unmarshal("", &c); err != nil {
		return c, fmt.Errorf("read settings: %s", oneLine(err))
	}
	return c, c.Check()
}

// oneLine is the text of a decoding error, which names each setting on a line
// of its own, without the headline.
func oneLine(err error) string {
	_, list, found := strings.Cut(err.Error(), "error(s):")
	if !found {
		list = err.Error()
	}
	return strings.Join(strings.FieldsFunc(list, func(r rune) bool { return r == '\n' }), "; ")
}

// EnvPrefix begins the name of every environment variable of the program.
const EnvPrefix = "STILLWATCH_"

func fromEnviron(known []Field, environ []string) (map[string]any, error) {
	values := map[string]any{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		i := slices.IndexFunc(known, func(f Field) bool { return f.Env == name })
		if i < 0 {
			return nil, fmt.Errorf("read environment: unknown setting %s", name)
		}
		if known[i].list {
			values[known[i].Key] = splitList(value)
		} else {
			values[known[i].Key] = value
		}
	}
	return values, nil
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Field describes one setting.
type Field struct {
	Key, Env, Doc string
	// Default is the default as YAML shows it.
	Default string
	Secret  bool
	list    bool
}

// Fields lists every setting in the order of Config.
func Fields() []Field {
	var fields []Field
	walk(reflect.ValueOf(Default()), "", func(key string, sf reflect.StructField, v reflect.Value) {
		fields = append(fields, Field{
			Key: key, Env: EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")),
			Doc: sf.Tag.Get("doc"), Secret: sf.Tag.Get("secret") != "",
			Default: show(v), list: v.Kind() == reflect.Slice,
		})
	})
	return fields
}

func walk(v reflect.Value, prefix string, visit func(string, reflect.StructField, reflect.Value)) {
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		key := prefix + sf.Tag.Get("koanf")
		if sf.Type.Kind() == reflect.Struct {
			walk(v.Field(i), key+".", visit)
			continue
		}
		visit(key, sf, v.Field(i))
	}
}

func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case []string:
		return "[" + strings.Join(x, ", ") + "]"
	case string:
		return strconv.Quote(x)
	default:
		return fmt.Sprint(x)
	}
}

// Redacted returns the settings as "key=value" with secrets hidden.
func (c Config) Redacted() []string {
	var out []string
	walk(reflect.ValueOf(c), "", func(key string, sf reflect.StructField, v reflect.Value) {
		s := show(v)
		if sf.Tag.Get("secret") != "" && !v.IsZero() {
			s = "(set)"
		}
		out = append(out, key+"="+s)
	})
	return out
}

// Check reports every setting that cannot be used, as joined *Error values.
func (c Config) Check() error {
	var errs []error
	bad := func(ok bool, key string, value any, want string) {
		if !ok {
			errs = append(errs, &Error{key, fmt.Sprint(value), want})
		}
	}
	bad(isAddress(c.HTTP.Listen), "http.listen", c.HTTP.Listen, "host:port, e.g. 127.0.0.1:8080")
	bad(isAddress(c.Media.Listen), "media.listen", c.Media.Listen, "host:port, e.g. 0.0.0.0:7882")
	bad(c.HTTP.PublicURL == "" || isOrigin(c.HTTP.PublicURL), "http.public_url", c.HTTP.PublicURL, "an origin such as https://watch.example.org")
	bad(c.HTTP.RateLimit >= 0 && c.HTTP.RateLimit <= 1000000, "http.rate_limit", c.HTTP.RateLimit, "0 to 1000000")
	for _, ip := range c.Media.PublicIPs {
		_, err := netip.ParseAddr(ip)
		bad(err == nil, "media.public_ips", ip, "IP addresses")
	}
	bad(c.Media.MaxPeers >= 1 && c.Media.MaxPeers <= 100000, "media.max_peers", c.Media.MaxPeers, "1 to 100000")
	bad(c.Data.Dir != "", "data.dir", c.Data.Dir, "a folder")
	bad(c.Auth.APISecret == "" || len(c.Auth.APISecret) >= 32, "auth.api_secret", "(hidden)", "32 characters or more")
	bad((c.Auth.APIKey == "") == (c.Auth.APISecret == ""), "auth.api_key", c.Auth.APIKey, "key and secret both set, or neither")
	bad(c.Auth.MasterKey == "" || isKey(c.Auth.MasterKey), "auth.master_key", "(hidden)", "32 bytes as hex or base64, e.g. of openssl rand -base64 32")
	bad(hasScheme(c.Redis.URL, "redis", "rediss", "unix"), "redis.url", "(hidden)", "redis://, rediss:// or unix://")
	bad(hasScheme(c.Database.URL, "postgres", "postgresql", "sqlite"), "database.url", "(hidden)", "postgres:// or sqlite://")
	bad(hasScheme(c.Blob.URL, "s3", "file"), "blob.url", "(hidden)", "s3:// or file://")
	bad(hasScheme(c.Webhook.URL, "http", "https"), "webhook.url", c.Webhook.URL, "http:// or https://")
	for _, cidr := range c.Netguard.Allow {
		_, err := netip.ParsePrefix(cidr)
		bad(err == nil, "netguard.allow", cidr, "CIDRs such as 10.20.0.0/16")
	}
	bad(slices.Contains([]string{"auto-on", "available", "disabled"}, c.Capture.DefaultMode), "capture.default_mode", c.Capture.DefaultMode, "auto-on, available or disabled")
	bad(c.Capture.Workers >= 0 && c.Capture.Workers <= 256, "capture.workers", c.Capture.Workers, "0 to 256")
	bad(c.Capture.Retention >= time.Minute && c.Capture.Retention <= 87600*time.Hour, "capture.retention", c.Capture.Retention, "1m to 87600h")
	bad(slices.Contains([]string{"none", "all", "video", "audio"}, c.Recording.Record), "recording.record", c.Recording.Record, "none, all, video or audio")
	bad(c.Recording.Workers >= 0 && c.Recording.Workers <= 256, "recording.workers", c.Recording.Workers, "0 to 256")
	bad(c.Recording.Prefix != "" && !strings.ContainsAny(c.Recording.Prefix, "\\ ") && !strings.HasPrefix(c.Recording.Prefix, "/"), "recording.prefix", c.Recording.Prefix, "a relative path such as recordings")
	bad(c.Recording.FlagGrace >= 0 && c.Recording.FlagGrace <= 10*time.Minute, "recording.flag_grace", c.Recording.FlagGrace, "0s to 10m")
	bad(c.Recording.SpoolBytes >= 1<<20, "recording.spool_bytes", c.Recording.SpoolBytes, "1048576 or more")
	bad(c.Recording.SpoolMaxBytes == 0 || c.Recording.SpoolMaxBytes >= 1<<20, "recording.spool_max_bytes", c.Recording.SpoolMaxBytes, "1048576 or more, or 0")
	bad(c.Recording.MinFree >= 0 && c.Recording.MinFree <= 90, "recording.min_free", c.Recording.MinFree, "0 to 90")
	bad(c.Recording.KeepFailed >= time.Minute && c.Recording.KeepFailed <= 8760*time.Hour, "recording.keep_failed", c.Recording.KeepFailed, "1m to 8760h")
	bad(c.Recording.StoreFor >= 0 && c.Recording.StoreFor <= 720*time.Hour, "recording.store_for", c.Recording.StoreFor, "0s to 720h")
	bad(hasScheme(c.Evidence.PublishURL, "http", "https"), "evidence.publish_url", "(hidden)", "http:// or https://")
	bad(hasScheme(c.Evidence.TSAURL, "http", "https"), "evidence.tsa_url", "(hidden)", "http:// or https://")
	bad(c.Evidence.PublishPrefix != "" && !strings.ContainsAny(c.Evidence.PublishPrefix, "\\ ") && !strings.HasPrefix(c.Evidence.PublishPrefix, "/"), "evidence.publish_prefix", c.Evidence.PublishPrefix, "a relative path such as evidence-heads")
	bad(!c.Recording.Handover || c.Database.URL != "" && c.Blob.URL != "" && !strings.HasPrefix(c.Blob.URL, "file:"), "recording.handover", c.Recording.Handover, "false, or database.url and blob.url of servers that all machines reach")
	bad(c.Models.Dir != "", "models.dir", c.Models.Dir, "a folder")
	bad(c.Models.Small != "", "models.small", c.Models.Small, "a model's name")
	bad(c.Models.Reuse == -1 || c.Models.Reuse >= 1 && c.Models.Reuse <= 100, "models.reuse", c.Models.Reuse, "1 to 100, or -1")
	bad(c.Models.Workers >= 0 && c.Models.Workers <= 256, "models.workers", c.Models.Workers, "0 to 256")
	bad(slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "log.level", c.Log.Level, "debug, info, warn or error")
	bad(slices.Contains([]string{"text", "json"}, c.Log.Format), "log.format", c.Log.Format, "text or json")
	return errors.Join(errs...)
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	n, perr := strconv.Atoi(port)
	return err == nil && perr == nil && n >= 0 && n <= 65535
}

// isKey tells whether s can be the text of 32 bytes: 64 hex digits, or base64
// with or without padding.
func isKey(s string) bool {
	digits, padded := strings.TrimRight(s, "="), len(s) == 64 || len(s) == 44 || len(s) == 43
	return padded && strings.Trim(digits, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_") == ""
}

func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Path == "" || u.Path == "/")
}

func hasScheme(s string, schemes ...string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && slices.Contains(schemes, u.Scheme)
}
