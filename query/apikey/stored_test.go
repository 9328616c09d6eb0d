package apikey

import (
	"errors"
	"strings"
	"testing"
)

func TestStoredRecordComesBack(t *testing.T) {
	k, token := newKey(t, "Bob’s key", Writer, AllTenants)
	data, err := Encode(k)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := Parse(token)
	if strings.Contains(string(data), secret) {
		t.Fatal("the record holds the secret")
	}
	got, err := Decode(data)
	if err != nil || got != k {
		t.Fatalf("Decode = %+v, %v; want %+v", got, err, k)
	}
}

// The layout is a contract with records that other versions wrote.
func TestDecodeReadsVersion1(t *testing.T) {
	k, err := Decode([]byte(record1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Encode(k)
	if err != nil || string(again) != record1 {
		t.Fatalf("version 1 is written as %s, %v", again, err)
	}
}

const record1 = `{"v":1,"id":"abcdefg2","name":"ci","role":"admin","tenant":"acme",` +
	`"hash":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","created_at":"2026-03-01T11:00:00.987Z"}`

func TestDecodeIsStrict(t *testing.T) {
	edit := func(old, with string) string {
		if !strings.Contains(record1, old) {
			t.Fatalf("the record has no %s", old)
		}
		return strings.Replace(record1, old, with, 1)
	}
	for name, data := range map[string]string{
		"empty":            ``,
		"not an object":    `[1]`,
		"null":             `null`,
		"cut":              record1[:len(record1)-1],
		"more after it":    record1 + `{}`,
		"no version":       edit(`"v":1,`, ``),
		"newer version":    edit(`"v":1`, `"v":2`),
		"unknown member":   edit(`"v":1`, `"v":1,"extra":true`),
		"member twice":     edit(`"v":1`, `"v":1,"role":"admin"`),
		"other case":       edit(`"role"`, `"Role"`),
		"id missing":       edit(`"id":"abcdefg2",`, ``),
		"id with a dot":    edit(`abcdefg2`, `abcdefg.`),
		"name missing":     edit(`"name":"ci",`, ``),
		"role missing":     edit(`"role":"admin",`, ``),
		"role unknown":     edit(`"admin"`, `"root"`),
		"tenant missing":   edit(`"tenant":"acme",`, ``),
		"tenant not valid": edit(`"acme"`, `"a.b"`),
		"hash null":        edit(`"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"`, `null`),
		"hash short":       edit(`1e1f"`, `1e"`),
		"hash long":        edit(`1e1f"`, `1e1f20"`),
		"hash not hex":     edit(`1e1f"`, `1e1g"`),
		"time missing":     edit(`,"created_at":"2026-03-01T11:00:00.987Z"`, ``),
		"time not valid":   edit(`2026-03-01T`, `2026-13-01T`),
		"bad utf-8":        edit(`"ci"`, "\"c\xff\""),
	} {
		if k, err := Decode([]byte(data)); !errors.Is(err, ErrCorrupt) || k != (Key{}) {
			t.Errorf("%s: Decode gave %+v, %v", name, k, err)
		} else if strings.Contains(err.Error(), "0405060708") {
			t.Errorf("%s: the error shows the hash: %v", name, err)
		}
	}
	if _, err := Decode([]byte(edit(`"v":1`, `"v":2,"extra":true`))); err == nil || !strings.Contains(err.Error(), "layout 2") {
		t.Errorf("a newer layout is not named: %v", err)
	}
}

func TestCodecBindsTheRecordToItsID(t *testing.T) {
	k, _ := newKey(t, "n", Reader, "acme")
	id, data, err := Codec{}.Encode(k)
	if err != nil || id != k.ID {
		t.Fatalf("Encode: id %q, %v", id, err)
	}
	if got, err := (Codec{}).Decode(id, data); err != nil || got != k {
		t.Fatalf("Decode = %+v, %v", got, err)
	}
	if got, err := (Codec{}).Decode("abcdefgh", data); !errors.Is(err, ErrCorrupt) || got != (Key{}) {
		t.Fatalf("under another id: %+v, %v", got, err)
	}
	k.Role = 0
	if _, _, err := (Codec{}).Encode(k); !errors.Is(err, ErrInvalid) {
		t.Fatalf("an invalid key was encoded: %v", err)
	}
}
