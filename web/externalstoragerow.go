package web

import (
	"errors"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/storage"
	"stillwatch/web/api"
)

// storageRow checks a request for a storage and makes its row. old is the row
// that it replaces, or the zero row.
func (s *Server) storageRow(name string, in api.ExternalStorageRequest, old db.ExternalStorageRow) (db.ExternalStorageRow, error) {
	now := db.At(s.cfg.Now())
	row := db.ExternalStorageRow{
		Name: name, StorageType: string(in.StorageType), Bucket: in.Bucket, Path: in.Path, CreatedAt: now, UpdatedAt: now,
	}
	set := &row.Settings.V
	switch row.StorageType {
	case blob.KindS3:
		set.S3Region, set.S3APIKey, set.S3EndpointURL = in.AwsS3.S3Region, in.AwsS3.S3ApiKey, in.AwsS3.S3CustomEndpointURL
	case blob.KindAzure:
		set.AbsAccount, set.AbsTenantID, set.AbsClientID = in.AzureBlob.AbsAccountName, in.AzureBlob.AbsTenantID, in.AzureBlob.AbsClientID
		set.AbsEndpoint = in.AzureBlob.AbsEndpointURL
	}
	secrets := storageSecrets(in)
	row.Sealed.V = map[string]string{}
	for field := range secrets {
		if err := s.sealStorageSecret(&row, field, secrets, old); err != nil {
			return row, err
		}
	}
	e, err := storage.Describe(row, func(field string) (string, error) { return secrets[field], nil })
	if err != nil {
		return row, err
	}
	if err := e.Check(); err != nil {
		if field := (*blob.FieldError)(nil); errors.As(err, &field) {
			return row, badField(field.Field, field.Want)
		}
		return row, err
	}
	return row, s.checkEndpoints(e)
}

// sealStorageSecret puts a secret into the row: the one that came or else, if
// it belongs to the same account, the one that was there, which it then adds
// to secrets. One that was there and cannot be opened has to come anew.
func (s *Server) sealStorageSecret(row *db.ExternalStorageRow, field string, secrets map[string]string, old db.ExternalStorageRow) (err error) {
	if s.cfg.Seal == nil {
		return errNoSeal
	}
	if secrets[field] != "" {
		row.Sealed.V[field], err = s.cfg.Seal.Seal(storage.Purpose(field), row.Name, secrets[field])
		return err
	}
	sealed, had := old.Sealed.V[field]
	if !had || !sameAccount(field, *row, old) {
		return nil
	}
	plain, err := s.cfg.Seal.Open(storage.Purpose(field), row.Name, sealed)
	if err != nil {
		return nil //nolint:nilerr // as if there were none: the check asks for it
	}
	secrets[field], row.Sealed.V[field] = plain, sealed
	return nil
}

// sameAccount tells whether a secret of the old row is still right.
func sameAccount(field string, row, old db.ExternalStorageRow) bool {
	a, b := row.Settings.V, old.Settings.V
	switch field {
	case storage.SecretS3:
		return a.S3APIKey != "" && a.S3APIKey == b.S3APIKey
	case storage.SecretAbsKey:
		return a.AbsAccount == b.AbsAccount && a.AbsTenantID == "" && a.AbsClientID == ""
	case storage.SecretAbsClient:
		return a.AbsTenantID == b.AbsTenantID && a.AbsClientID == b.AbsClientID && a.AbsClientID != ""
	default:
		return row.StorageType == old.StorageType
	}
}

// checkEndpoints refuses addresses that would never be reached.
func (s *Server) checkEndpoints(e blob.External) error {
	for field, at := range map[string]string{
		"aws_s3.s3_custom_endpoint_url": e.Endpoint, "azure_blob.abs_endpoint_url": e.AzureEndpoint,
	} {
		if at == "" || s.cfg.CheckURL == nil {
			continue
		}
		if err := s.cfg.CheckURL(at); err != nil {
			return badField(field, "must be an address that may be reached: "+err.Error())
		}
	}
	return nil
}

// storageSecrets are the secrets of a request that its type has a use for.
func storageSecrets(in api.ExternalStorageRequest) map[string]string {
	given := map[string]string{}
	switch string(in.StorageType) {
	case blob.KindS3:
		given[storage.SecretS3] = in.AwsS3.S3Secret
	case blob.KindGCS:
		given[storage.SecretGCS] = in.GcsCredentials
	case blob.KindAzure:
		given[storage.SecretAbsKey], given[storage.SecretAbsClient] = in.AzureBlob.AbsAccountKey, in.AzureBlob.AbsClientSecret
	}
	return given
}
