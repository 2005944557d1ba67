package main

import (
	"context"

	"stillwatch/internal/db"
	"stillwatch/internal/storage"
)

// checkSeals says at the start which stored secrets cannot be opened, as after
// a restore of the database without its master key: else that would show one
// by one, when something is to be sent.
func (p *Program) checkSeals(ctx context.Context) error {
	var hooks []db.HookRow
	if err := p.db.NewSelect().Model(&hooks).Scan(ctx); err != nil {
		return err
	}
	for _, h := range hooks {
		d, err := h.Details()
		if err != nil {
			return err
		}
		for name := range d.Sealed {
			_, err := d.Secret(p.seal, h.ID, name)
			p.complainOfSeal("hook", h.ID, name, err)
		}
	}
	storages, err := db.ExternalStorages(ctx, p.db)
	if err != nil {
		return err
	}
	for _, s := range storages {
		for name, sealed := range s.Sealed.V {
			_, err := p.seal.Open(storage.Purpose(name), s.Name, sealed)
			p.complainOfSeal("storage", s.Name, name, err)
		}
	}
	return nil
}

func (p *Program) complainOfSeal(kind, owner, name string, err error) {
	if err != nil {
		p.log.Error("a stored secret cannot be opened", kind, owner, "secret", name, "err", err)
	}
}
