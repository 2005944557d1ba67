package db

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// ExternalStorageRow is a row of external_storages: a bucket of somebody
// else's that frames are put into.
type ExternalStorageRow struct {
	bun.BaseModel `bun:"table:external_storages,alias:es"`
	Name          string `bun:",pk"`
	// StorageType is "s3", "gcs" or "abs".
	StorageType string
	Bucket      string
	// Path goes before every key, without a slash in front; "" for none.
	Path     string
	Settings JSON[StorageSettings]
	// Sealed are the secrets by field of the API, each sealed for Name.
	Sealed    JSON[map[string]string]
	CreatedAt Time
	UpdatedAt Time
}

// StorageSettings is what is no secret about an external storage.
type StorageSettings struct {
	S3Region      string `json:"s3_region,omitempty"`
	S3APIKey      string `json:"s3_api_key,omitempty"`
	S3EndpointURL string `json:"s3_custom_endpoint_url,omitempty"`
	AbsAccount    string `json:"abs_account_name,omitempty"`
	AbsTenantID   string `json:"abs_tenant_id,omitempty"`
	AbsClientID   string `json:"abs_client_id,omitempty"`
	AbsEndpoint   string `json:"abs_endpoint_url,omitempty"`
}

// MaxExternalStorages is how many there may be.
const MaxExternalStorages = 10

// ExternalStorages reads all external storages, by name.
func ExternalStorages(ctx context.Context, tx bun.IDB) ([]ExternalStorageRow, error) {
	var rows []ExternalStorageRow
	if err := tx.NewSelect().Model(&rows).Order("name").Limit(2 * MaxExternalStorages).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read external storages: %w", err)
	}
	return rows, nil
}

// ExternalStorage reads one; IsNotFound tells if there is none of that name.
func ExternalStorage(ctx context.Context, tx bun.IDB, name string) (row ExternalStorageRow, err error) {
	if err := tx.NewSelect().Model(&row).Where("name = ?", name).Scan(ctx); err != nil {
		return row, fmt.Errorf("read external storage %q: %w", name, err)
	}
	return row, nil
}
