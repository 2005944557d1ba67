package web

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// schemas are those of docs/events, each read once.
var schemas sync.Map

// eventSchema is the published schema of an event type.
func eventSchema(typ string) (*jsonschema.Schema, error) {
	if s, ok := schemas.Load(typ); ok {
		return s.(*jsonschema.Schema), nil
	}
	text, err := os.ReadFile(filepath.Join("../docs/events", typ+".json"))
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("mem:///schema.json", doc); err != nil {
		return nil, err
	}
	s, err := c.Compile("mem:///schema.json")
	if err == nil {
		schemas.Store(typ, s)
	}
	return s, err
}

// checkEvents holds every public event that the handlers enqueued against
// its published schema. Each bench does so at its end.
func (b *bench) checkEvents() {
	var rows []db.OutboxRow
	err := b.db.NewSelect().Model(&rows).Where("topic = ?", string(event.TopicPublic)).Order("seq").Scan(context.Background())
	if err != nil {
		b.t.Errorf("read the outbox: %v", err)
	}
	for _, row := range rows {
		ev := row.Envelope.V
		schema, err := eventSchema(ev.Type)
		if err != nil {
			b.t.Errorf("schema of %s: %v", ev.Type, err)
			continue
		}
		body, err := jsonschema.UnmarshalJSON(bytes.NewReader(ev.Data))
		if err == nil {
			err = schema.Validate(body)
		}
		if err != nil {
			b.t.Errorf("%s does not fit docs/events/%s.json: %v\n%s", ev.Type, ev.Type, err, ev.Data)
		}
	}
}
