package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/store"
)

// A bit that is flipped in the rows of a table file is found and named, and nothing
// else than what was written is read while it is.
func TestFlippedBit(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 9))
		x := openIndex(t, t.TempDir())
		all := makeStream(modeltest.NewGenerator(seed), rng, 400)
		b := x.NewBatch(nil)
		for _, m := range all {
			apply(t, b, m)
		}
		if err := b.Commit(watermark(all[len(all)-1])); err != nil {
			t.Fatal(err)
		}
		want, err := everything(x.Store)
		if err != nil {
			t.Fatal(err)
		}
		x.close()
		tables, err := filepath.Glob(filepath.Join(x.dir, "*.sst"))
		if err != nil || len(tables) != 1 {
			t.Fatalf("%v, %v", tables, err)
		}
		sound, err := os.ReadFile(tables[0])
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for range 40 {
			damaged := append([]byte(nil), sound...)
			at, bit := rng.IntN(len(damaged)), byte(1)<<rng.IntN(8)
			damaged[at] ^= bit
			if err := os.WriteFile(tables[0], damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			files, found, err := store.CheckFiles(t.Context(), x.dir, nil)
			if err != nil || files != 3 {
				t.Fatalf("%d files, %v", files, err)
			}
			named := len(found) == 1 && found[0].File == filepath.Base(tables[0])
			got, err := openAndRead(x.dir)
			switch {
			case errors.Is(err, store.ErrDamaged):
				refused++
			case err != nil:
				t.Errorf("byte %d, bit %08b: %v", at, bit, err)
			case got != want:
				t.Errorf("byte %d, bit %08b: other rows are read than were written", at, bit)
			}
			// Compressed bytes may say the same in two ways: then nothing is damaged.
			if !named && err != nil || len(found) > 0 && !named {
				t.Errorf("byte %d, bit %08b: found %v, reading fails with %v", at, bit, found, err)
			}
			if err := os.WriteFile(tables[0], sound, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if refused == 0 {
			t.Error("no bit was ever noticed")
		}
	})
}

func TestMissingFile(t *testing.T) {
	x := openIndex(t, t.TempDir())
	x.reopen()
	x.close()
	tables, err := filepath.Glob(filepath.Join(x.dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v, %v", tables, err)
	}
	for _, path := range []string{tables[0], filepath.Join(x.dir, "MANIFEST")} {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		_, found, err := store.CheckFiles(t.Context(), x.dir, nil)
		if err != nil || len(found) != 1 || found[0].File != filepath.Base(path) || found[0].Problem != "is missing" {
			t.Errorf("%s: %v, %v", path, found, err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}

// openAndRead opens an index and gives its contents.
func openAndRead(dir string) (text string, err error) {
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		return "", err
	}
	text, err = everything(st)
	return text, errors.Join(err, st.Close())
}

// everything gives every row of the families of a digest.
func everything(st *store.Store) (string, error) {
	view, err := st.View(st.Applied().Seq)
	if err != nil {
		return "", err
	}
	defer view.Close()
	var b strings.Builder
	for _, family := range "aepqnxgcz" {
		if err := view.Range([]byte{byte(keys.Tag(family))}, nil, func(key, value []byte) bool {
			fmt.Fprintf(&b, "%q=%q\n", key, value)
			return true
		}); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}
