package db

// Of the audit, in each dialect: statements that make it append-only, and
// those that undo it.
const (
	sqliteAppendOnly = `-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
-- +goose StatementEnd`
	sqliteAppendOnlyEnd = `DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;`

	postgresAppendOnly = `-- +goose StatementBegin
CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
  FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();`
	postgresAppendOnlyEnd = `DROP TRIGGER audit_append_only ON audit; DROP FUNCTION audit_append_only();`
)
