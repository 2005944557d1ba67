package storage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/netguard"
)

// external is an external storage that is open.
type external struct {
	store     *blob.Store
	updatedAt time.Time
	checked   time.Time

	mu    sync.Mutex
	until time.Time // left alone until then
	down  bool
}

func (e *external) resting(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Before(e.until)
}

// failed begins a rest, and tells whether that is worth a word: frames fail
// by the dozen.
func (e *external) failed(now time.Time, rest time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	say := !now.Before(e.until)
	e.until, e.down = now.Add(rest), true
	return say
}

func (e *external) recovered() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.down
	e.down = false
	return was
}

// external returns a storage by its name, opened with settings that are at
// most Recheck old.
func (s *Stores) external(ctx context.Context, name string) (*external, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	e := s.open[name]
	if e != nil && now.Sub(e.checked) < s.cfg.Recheck {
		s.mu.Unlock()
		return e, nil
	}
	s.mu.Unlock()
	row, err := db.ExternalStorage(ctx, s.cfg.DB, name)
	switch {
	case db.IsNotFound(err):
		s.forget(name)
		return nil, unknown(name)
	case err != nil && e != nil:
		return e, nil // what is open serves as long as the database does not answer
	case err != nil:
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.open[name]; e != nil && e.updatedAt.Equal(row.UpdatedAt.Time) {
		e.checked = now
		return e, nil
	}
	store, err := s.openRow(ctx, row)
	if err != nil {
		return nil, err
	}
	if old := s.open[name]; old != nil {
		s.retired = append(s.retired, old.store) // closed late: requests may be under way
	}
	e = &external{store: store, updatedAt: row.UpdatedAt.Time, checked: now}
	s.open[name] = e
	return e, nil
}

func (s *Stores) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.open[name]; e != nil {
		s.retired = append(s.retired, e.store)
		delete(s.open, name)
	}
}

// Purpose is what a storage's secret is sealed for, by its name in the API.
func Purpose(field string) string { return "storage." + field }

// Fields of ExternalStorageRow.Sealed.
const (
	SecretS3        = "s3_secret"
	SecretGCS       = "gcs_credentials"
	SecretAbsKey    = "abs_account_key"
	SecretAbsClient = "abs_client_secret"
)

// Describe is a row as package blob opens it, without client and with the
// secrets that secret gives by field.
func Describe(row db.ExternalStorageRow, secret func(field string) (string, error)) (blob.External, error) {
	set := row.Settings.V
	e := blob.External{
		Kind: row.StorageType, Bucket: row.Bucket, Path: row.Path,
		Region: set.S3Region, AccessKey: set.S3APIKey, Endpoint: set.S3EndpointURL,
		AzureAccount: set.AbsAccount, AzureTenant: set.AbsTenantID, AzureClientID: set.AbsClientID, AzureEndpoint: set.AbsEndpoint,
	}
	var err error
	for field, into := range map[string]*string{
		SecretS3: &e.SecretKey, SecretGCS: &e.GoogleCredentials, SecretAbsKey: &e.AzureKey, SecretAbsClient: &e.AzureSecret,
	} {
		var failed error
		*into, failed = secret(field)
		err = errors.Join(err, failed)
	}
	return e, err
}

func (s *Stores) openRow(ctx context.Context, row db.ExternalStorageRow) (*blob.Store, error) {
	e, err := Describe(row, func(field string) (string, error) {
		sealed, ok := row.Sealed.V[field]
		if !ok {
			return "", nil
		}
		if s.cfg.Seal == nil {
			return "", errors.New("no key to open secrets with")
		}
		return s.cfg.Seal.Open(Purpose(field), row.Name, sealed)
	})
	if err != nil {
		return nil, fmt.Errorf("open secrets of storage %s: %w", row.Name, err)
	}
	e.HTTP = s.cfg.Client(isPlain(e.Endpoint) || isPlain(e.AzureEndpoint))
	return blob.OpenExternal(context.WithoutCancel(ctx), e)
}

func isPlain(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Scheme == "http"
}

// reason is what may be told of an error to whoever set a storage up.
func reason(err error) string {
	if errors.Is(err, errBusy) {
		return errBusy.Error()
	}
	if refused := (*netguard.RefusedError)(nil); errors.As(err, &refused) {
		return refused.Error()
	}
	return blob.Reason(err)
}
