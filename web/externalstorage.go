package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/storage"
	"stillwatch/web/api"
)

// ListExternalStorage gives all external storages, without their secrets.
func (s *Server) ListExternalStorage(ctx context.Context, _ api.ListExternalStorageRequestObject) (api.ListExternalStorageResponseObject, error) {
	rows, err := db.ExternalStorages(ctx, s.cfg.DB)
	if err != nil {
		return nil, err
	}
	all := map[string]api.ExternalStorageBody{}
	for _, r := range rows {
		all[r.Name] = api.ExternalStorageBody{Name: r.Name, Type: r.StorageType, Bucket: r.Bucket, Path: r.Path}
	}
	return api.ListExternalStorage200JSONResponse{ExternalStorages: all}, nil
}

// CreateExternalStorage adds a storage. Nothing is asked of it yet:
// CheckExternalStorage does that.
func (s *Server) CreateExternalStorage(ctx context.Context, req api.CreateExternalStorageRequestObject) (api.CreateExternalStorageResponseObject, error) {
	in := orZero(req.Body)
	if !nameRE.MatchString(in.Name) {
		return nil, badField("name", wantName)
	}
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := lockApp(ctx, tx); err != nil { // two at once must not be eleven
			return err
		}
		have, err := db.ExternalStorages(ctx, tx)
		if err != nil {
			return err
		}
		for _, h := range have {
			if h.Name == in.Name {
				return fail(http.StatusConflict, CodeConflict, "external storage %q exists already", in.Name)
			}
		}
		if len(have) >= db.MaxExternalStorages {
			return badField("name", fmt.Sprintf("would be one too many: there are %d external storages, the most there may be", len(have)))
		}
		row, err := s.storageRow(in.Name, api.ExternalStorageRequest{
			StorageType: api.ExternalStorageRequestStorageType(in.StorageType), Bucket: in.Bucket, Path: in.Path,
			AwsS3: in.AwsS3, GcsCredentials: in.GcsCredentials, AzureBlob: in.AzureBlob,
		}, db.ExternalStorageRow{})
		if err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return fmt.Errorf("add external storage: %w", err)
		}
		return s.auditStorage(ctx, tx, "external_storage.create", row)
	})
	if err != nil {
		return nil, err
	}
	return api.CreateExternalStorage201JSONResponse{}, nil
}

// UpdateExternalStorage replaces a storage. Secrets that the request leaves
// out are kept as long as they belong to the same account.
func (s *Server) UpdateExternalStorage(ctx context.Context, req api.UpdateExternalStorageRequestObject) (api.UpdateExternalStorageResponseObject, error) {
	var row db.ExternalStorageRow
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		old, err := lockedStorage(ctx, tx, req.Name)
		if err != nil {
			return err
		}
		if row, err = s.storageRow(req.Name, orZero(req.Body), old); err != nil {
			return err
		}
		if !row.UpdatedAt.After(old.UpdatedAt.Time) { // by which whoever has it open notices
			row.UpdatedAt.Time = old.UpdatedAt.Add(1)
		}
		if _, err := tx.NewUpdate().Model(&row).WherePK().ExcludeColumn("created_at").Exec(ctx); err != nil {
			return fmt.Errorf("change external storage: %w", err)
		}
		return s.auditStorage(ctx, tx, "external_storage.update", row)
	})
	if err != nil {
		return nil, err
	}
	return api.UpdateExternalStorage200JSONResponse{Name: row.Name, Type: row.StorageType, Bucket: row.Bucket, Path: row.Path}, nil
}

// lockedStorage holds a storage's row until the commit.
func lockedStorage(ctx context.Context, tx bun.Tx, name string) (db.ExternalStorageRow, error) {
	_, err := tx.NewUpdate().Model((*db.ExternalStorageRow)(nil)).Set("updated_at = updated_at").Where("name = ?", name).Exec(ctx)
	if err != nil {
		return db.ExternalStorageRow{}, fmt.Errorf("lock external storage: %w", err)
	}
	row, err := db.ExternalStorage(ctx, tx, name)
	if db.IsNotFound(err) {
		return row, notFound("external storage", name)
	}
	return row, err
}

// DeleteExternalStorage removes a storage that no call type and no running
// call uses. What lies in it stays there, out of our reach.
func (s *Server) DeleteExternalStorage(ctx context.Context, req api.DeleteExternalStorageRequestObject) (api.DeleteExternalStorageResponseObject, error) {
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := lockedStorage(ctx, tx, req.Name)
		if err != nil {
			return err
		}
		if err := storageUnused(ctx, tx, req.Name); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model(&row).WherePK().Exec(ctx); err != nil {
			return fmt.Errorf("remove external storage: %w", err)
		}
		return s.auditStorage(ctx, tx, "external_storage.delete", row)
	})
	if err != nil {
		return nil, err
	}
	return api.DeleteExternalStorage200JSONResponse{}, nil
}

func storageUnused(ctx context.Context, tx bun.Tx, name string) error {
	var by string
	err := tx.NewSelect().Model((*db.CallTypeRow)(nil)).Column("name").Where("external_storage = ?", name).Limit(1).Scan(ctx, &by)
	if err == nil {
		return fail(http.StatusConflict, CodeConflict, "external storage %q is used by call type %q", name, by)
	}
	if !db.IsNotFound(err) {
		return fmt.Errorf("look for users of a storage: %w", err)
	}
	err = tx.NewSelect().Model((*db.CallRow)(nil)).Column("cid").Where("frame_storage = ?", name).Where("frame_egress_id <> ''").
		Limit(1).Scan(ctx, &by)
	if err == nil {
		return fail(http.StatusConflict, CodeConflict, "external storage %q is used by call %q", name, by)
	}
	if !db.IsNotFound(err) {
		return fmt.Errorf("look for users of a storage: %w", err)
	}
	err = tx.NewSelect().Model((*db.RecordingRow)(nil)).Column("cid").Where("storage = ?", name).
		Where("state IN (?)", bun.List([]string{db.RecordingOn, db.RecordingProcessing})).Limit(1).Scan(ctx, &by)
	if err == nil {
		return fail(http.StatusConflict, CodeConflict, "external storage %q is used by a recording of call %q", name, by)
	}
	if !db.IsNotFound(err) {
		return fmt.Errorf("look for users of a storage: %w", err)
	}
	return nil
}

// CheckExternalStorage writes an object into a storage, reads it back and
// gives a link to it.
func (s *Server) CheckExternalStorage(ctx context.Context, req api.CheckExternalStorageRequestObject) (api.CheckExternalStorageResponseObject, error) {
	if _, err := db.ExternalStorage(ctx, s.cfg.DB, req.Name); db.IsNotFound(err) {
		return nil, notFound("external storage", req.Name)
	} else if err != nil {
		return nil, err
	}
	if s.cfg.Storages == nil {
		return nil, fail(http.StatusServiceUnavailable, CodeUnavailable, "this server reaches no storages")
	}
	link, err := s.cfg.Storages.Check(ctx, req.Name)
	var failed *storage.CheckError
	switch {
	case errors.Is(err, storage.ErrUnknown):
		return nil, notFound("external storage", req.Name)
	case errors.As(err, &failed):
		return nil, badInput("external storage %q cannot be used: %s", req.Name, failed)
	case err != nil:
		return nil, err
	}
	return api.CheckExternalStorage200JSONResponse{FileURL: link}, nil
}

// auditStorage keeps who changed which storage, without its secrets.
func (s *Server) auditStorage(ctx context.Context, tx bun.Tx, verb string, row db.ExternalStorageRow) error {
	return s.auditAs(request(ctx), ctx, tx, verb, "external_storage:"+row.Name, map[string]any{
		"storage_type": row.StorageType, "bucket": row.Bucket, "path": row.Path, "settings": row.Settings.V,
	})
}
