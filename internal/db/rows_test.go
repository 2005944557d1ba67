package db

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"stillwatch/internal/event"
)

// sample fills every field of a row with something that is not its zero.
func sample(row any) {
	v := reflect.ValueOf(row).Elem()
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if name == "BaseModel" || name == "Seq" {
			continue
		}
		switch p := f.Addr().Interface().(type) {
		case *string:
			*p = name + " 'ä' \\ \" ?"
		case *int:
			*p = 40 + i
		case *int64:
			*p = 1<<40 + int64(i)
		case *float64:
			*p = 0.1234567890123456
		case *Bool:
			*p = true
		case *Time:
			*p = At(time.Unix(1_767_607_322, 412_345_678))
		case *JSON[[]string]:
			p.V = []string{"a", "b\"'"}
		case *JSON[map[string]any]:
			p.V = map[string]any{"k": "v"}
		case *JSON[map[string]string]:
			p.V = map[string]string{"k": "v"}
		case *JSON[StorageSettings]:
			p.V = StorageSettings{S3Region: "eu"}
		case *JSON[map[string][]string]:
			p.V = map[string][]string{"k": {"v"}}
		case *JSON[RecordingDecision]:
			p.V = RecordingDecision{Record: true, Type: "all", Source: "user", Mandatory: true}
		case *JSON[*event.Escalation]:
			p.V = &event.Escalation{Reason: "r", Notes: "n", Priority: "high"}
		case *JSON[json.RawMessage]:
			p.V = json.RawMessage(`{"k":[1,2.5,"?"]}`)
		}
	}
}

func testRoundTrip(t *testing.T, d *DB) {
	for _, row := range []any{
		&UserRow{}, &CallTypeRow{}, &CallRow{}, &SessionRow{}, &ParticipantRow{}, &FrameRow{}, &GapRow{},
		&VerdictRow{}, &DecisionRow{}, &ActionRow{}, &BanRow{}, &ReviewItemRow{}, &HookRow{}, &DeliveryRow{}, &AuditRow{},
		&RuleRow{}, &ConfigRow{}, &ViolationRow{}, &PolicyVersionRow{},
		&MemberRow{}, &TaskRow{},
		&CallGrantRow{}, &RecordingPermissionRow{},
		&ExternalStorageRow{}, &AppSettingsRow{},
		&PublicEventRow{}, &AttemptRow{}, &HookHealthRow{}, &HookSecretRow{},
	} {
		sample(row)
		insert(t, d, row)
		got := reflect.New(reflect.TypeOf(row).Elem()).Interface()
		if err := d.NewSelect().Model(got).Scan(t.Context()); err != nil {
			t.Errorf("read %T: %v", row, err)
			continue
		}
		if !reflect.DeepEqual(got, row) {
			t.Errorf("%T\n got %+v\nwant %+v", row, got, row)
		}
		for i := range reflect.ValueOf(row).Elem().NumField() {
			if reflect.ValueOf(row).Elem().Field(i).IsZero() && reflect.TypeOf(row).Elem().Field(i).Name != "BaseModel" {
				t.Errorf("%T.%s was not tried", row, reflect.TypeOf(row).Elem().Field(i).Name)
			}
		}
	}
}

func testOpenAgain(t *testing.T, d *DB) {
	row := &AuditRow{}
	sample(row)
	insert(t, d, row)
	if err := migrate(t.Context(), d.DB); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "audit"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func testHostileText(t *testing.T, d *DB) {
	const word = `x'); DROP TABLE users; -- ?0 ?1 {"a":"b"} \' \\ $1 %s`
	ctx := context.Background()
	if err := d.SawUser(ctx, word, true, time.Now()); err != nil {
		t.Fatal(err)
	}
	u, err := d.User(ctx, word)
	if err != nil || u.ID != word {
		t.Errorf("got %+v, %v", u, err)
	}
	if _, _, err := d.Banned(ctx, word, word, time.Now()); err != nil {
		t.Error(err)
	}
	// A zero byte may be refused, but only with an error.
	_ = d.SawUser(ctx, "a\x00b", true, time.Now())
	if n := count(t, d, "users"); n < 1 {
		t.Error("users is gone")
	}
}

func TestScanRefusesOtherTypes(t *testing.T) {
	t.Parallel()
	if new(Time).Scan("x") == nil || new(Bool).Scan("x") == nil || new(JSON[int]).Scan(1) == nil || new(JSON[int]).Scan("x") == nil {
		t.Error("a wrong type was taken")
	}
}
