package evidence

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func bulletinKey(t *testing.T) Key {
	t.Helper()
	k, err := LoadKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// chain makes n bulletins with a head each.
func chain(t interface{ Fatal(...any) }, k Key, n int) []*Bulletin {
	var all []*Bulletin
	var last *Bulletin
	for i := range n {
		b, err := NewBulletin(last, time.Unix(int64(i), 0), []Published{{ID: "a", Case: "recording:r", At: time.Unix(int64(i), 0).UTC(), Head: strings.Repeat("a", 60) + string(rune('a'+i))}}, k)
		if err != nil {
			t.Fatal(err)
		}
		all, last = append(all, b), b
	}
	return all
}

func TestBulletinsThatWereChangedAreNamed(t *testing.T) {
	t.Parallel()
	k := bulletinKey(t)
	other := bulletinKey(t)
	rapid.Check(t, func(t *rapid.T) {
		all := chain(t, k, rapid.IntRange(2, 6).Draw(t, "n"))
		if err := VerifyBulletins(all, k.Public()); err != nil {
			t.Fatal(err)
		}
		i := rapid.IntRange(0, len(all)-1).Draw(t, "i")
		b := *all[i]
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0: // edited
			b.Heads = []Published{}
			all[i] = &b
		case 1: // made anew by the holder of the key, under those that stand on it
			if i == len(all)-1 {
				t.Skip("nothing stands on it")
			}
			var last *Bulletin
			if i > 0 {
				last = all[i-1]
			}
			anew, err := NewBulletin(last, b.At, nil, k)
			if err != nil {
				t.Fatal(err)
			}
			all[i] = anew
		case 2: // left out
			if i == 0 || i == len(all)-1 {
				t.Skip("a row may begin and end anywhere")
			}
			all = append(all[:i:i], all[i+1:]...)
		case 3: // twice
			all = append(all[:i+1:i+1], all[i:]...)
		case 4: // another's
			anew, err := NewBulletin(nil, b.At, b.Heads, other)
			if err != nil {
				t.Fatal(err)
			}
			all[i] = anew
		}
		if VerifyBulletins(all, k.Public()) == nil {
			t.Fatal("it is taken")
		}
	})
}

func TestAManifestThatWasMadeAnewIsInNoBulletin(t *testing.T) {
	t.Parallel()
	k := bulletinKey(t)
	sealed := strings.Repeat("0f", 32)
	made := func(note string) *Manifest {
		m := New("recording:r", "test", time.Unix(1, 0))
		for _, e := range []Entry{
			{Kind: "recording", ID: "r", Clock: ClockServer, Note: []byte(`{"by":"` + note + `"}`)},
			{Kind: "file", ID: "f", Name: "files/f/manifest.json", Size: 1, SHA256: sealed, Clock: ClockServer},
		} {
			if err := m.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Sign(k); err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := made("mo")
	b, err := NewBulletin(nil, time.Unix(2, 0), []Published{
		{ID: "f", Case: "recording:r", Manifest: sealed}, {ID: "a", Case: "recording:r", Head: m.Head.Hashes[1]}, {ID: "o", Case: "recording:other", Manifest: First},
	}, k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "0.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := ReadBulletins(dir)
	if err != nil || VerifyBulletins(all, k.Public()) != nil || CheckPublished(m, all) != nil {
		t.Fatalf("%v, %v", err, CheckPublished(m, all))
	}
	var fault *Fault
	if err := CheckPublished(made("eve"), all); !errors.As(err, &fault) || !strings.Contains(fault.Why, "no bulletin") {
		t.Errorf("made anew: %v", err)
	}
	b.Heads[0].Manifest = strings.Repeat("1e", 32)
	if err := CheckPublished(m, []*Bulletin{b}); !errors.As(err, &fault) || !strings.Contains(fault.Why, "is not in it") {
		t.Errorf("with another stored manifest: %v", err)
	}
	if _, err := DecodeBulletin(append(text, ' ')); !errors.Is(err, ErrForm) {
		t.Errorf("another form: %v", err)
	}
}

func FuzzDecodeBulletin(f *testing.F) {
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte("{\n \"version\": 1,\n \"n\": 0,\n \"prev\": \"\",\n \"at\": \"2026-01-05T10:00:00Z\",\n \"heads\": [],\n \"key\": \"\",\n \"signature\": null\n}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := DecodeBulletin(text)
		if err != nil {
			return
		}
		if again, err := b.Encode(); err != nil || string(again) != string(text) {
			t.Fatalf("%q is taken and means %q", text, again)
		}
	})
}

func FuzzCheckTimestamp(f *testing.F) {
	f.Add([]byte{0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02}) // refused
	f.Add([]byte{0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x00}) // granted, without a token
	f.Fuzz(func(t *testing.T, reply []byte) {
		if at, err := CheckTimestamp(reply, []byte("text"), nil); err != nil && (!errors.Is(err, ErrTimestamp) || !at.IsZero()) {
			t.Fatal(at, err)
		}
	})
}
