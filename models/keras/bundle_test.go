package keras

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestLiteralBecomesJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{a:1,b_c:[!0,!1,null],"d e":-.5e-3}`: `{"a":1,"b_c":[true,false,null],"d e":-0.0005}`,
		`{}`:                                  `{}`,
		`{a:[]}`:                              `{"a":[]}`,
		`"AQI="`:                              `"AQI="`,
		`{a:'x'}`:                             `{"a":"x"}`,
	} {
		got, err := Literal([]byte("x.exports=f(), a.exports=" + in + "},{}]"))
		if err != nil || string(got) != want {
			t.Errorf("%s becomes %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestLiteralRefusesCode(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		``, `{`, `{a}`, `{a:}`, `{a:b}`, `{a:alert(1)}`, `{a:1 b:2}`, `{a:[1,2}`, `{a:"x\u0022"}`, "{a:\"x\ny\"}",
		`{a:"x`, `{a:'"'}`, `{a:1e999}`, `{a:Infinity}`, `{a:0x10}`, `{a:--1}`, `{[x]:1}`, `{a:` + strings.Repeat("[", 200),
		`{a:"` + "\xff" + `"}`,
	} {
		if got, err := Literal([]byte("a.exports=" + in)); !errors.Is(err, ErrBundle) {
			t.Errorf("%q becomes %s, %v, want %v", in, got, err, ErrBundle)
		}
	}
	if _, err := Literal([]byte("module.exports=e()")); !errors.Is(err, ErrBundle) {
		t.Errorf("a bundle of no literal: %v, want %v", err, ErrBundle)
	}
}

func FuzzLiteral(f *testing.F) {
	for _, name := range []string{"model", "group1-shard1of2"} {
		body, err := os.ReadFile("testdata/tiny/" + name + ".min.js")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`a.exports={a:[!0,{b:-.5}],'c':"d"}`))
	f.Fuzz(func(t *testing.T, bundle []byte) {
		if got, err := Literal(bundle); err == nil && !json.Valid(got) {
			t.Errorf("%q becomes %q, which is not JSON", bundle, got)
		}
	})
}
