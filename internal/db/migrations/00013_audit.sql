-- +goose Up
-- What is written in the audit is neither changed nor removed, by whoever has
-- this database's ordinary rights.
{{append_only}}

-- +goose Down
{{append_only_end}}
