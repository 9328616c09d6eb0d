package spill_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assigndex/assigndex/indexer/store/spill"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// version is a version as the model keeps it, newest first.
type version struct {
	ts      uint64
	value   string
	deleted bool
}

// Whatever was written, and however much of it is in files: reads give the newest, and
// the parts what the floor leaves, in order.
func TestSet(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	t.Logf("-seed %d", seed)
	for round := range 12 {
		rng := rand.New(rand.NewPCG(seed, uint64(round)))
		writes := []int{0, 1, 300, 4000}[rng.IntN(4)]
		floor := rng.Uint64N(uint64(writes) + 2)
		dir := filepath.Join(t.TempDir(), "set")
		s, err := spill.New(spill.Options{Dir: dir, Memory: int64(1) << (14 + rng.IntN(6)), Floor: floor, Got: []byte("ab"), Scanned: []byte("bc")})
		if err != nil {
			t.Fatal(err)
		}
		model := map[string][]version{}
		for ts := uint64(1); ts <= uint64(writes); ts++ {
			step(t, s, rng, model, ts)
		}
		if _, err := s.Get([]byte("c")); !errors.Is(err, spill.ErrUnread) {
			t.Fatalf("get: %v", err)
		}
		if err := s.Scan([]byte("a"), nil); !errors.Is(err, spill.ErrUnread) {
			t.Fatalf("scan: %v", err)
		}
		if got, want := parts(t, s, 1+rng.IntN(4)), kept(model, floor); !slices.Equal(got, want) {
			t.Fatalf("-seed %d: %d writes, floor %d:\n got %q\nwant %q", seed, writes, floor, got, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("it leaves %v", err)
		}
	}
}

// step writes a version and reads.
func step(t *testing.T, s *spill.Set, rng *rand.Rand, model map[string][]version, ts uint64) {
	t.Helper()
	key := fmt.Sprintf("%c%d/%s", "abc"[rng.IntN(3)], rng.IntN(9), strings.Repeat("k", rng.IntN(60)))
	v := version{ts, strings.Repeat("v", rng.IntN(300)), rng.IntN(4) == 0}
	var err error
	if v.deleted {
		v.value, err = "", s.Delete([]byte(key), ts)
	} else {
		err = s.Put([]byte(key), []byte(v.value), ts)
	}
	if err != nil {
		t.Fatal(err)
	}
	model[key] = append([]version{v}, model[key]...)
	if rng.IntN(4) == 0 {
		key := fmt.Sprintf("%c%d/%s", "ab"[rng.IntN(2)], rng.IntN(9), strings.Repeat("k", rng.IntN(60)))
		got, err := s.Get([]byte(key))
		all := model[key]
		there := len(all) > 0 && !all[0].deleted
		if err != nil || (got != nil) != there || (there && string(got) != all[0].value) {
			t.Fatalf("%q is %q, %v; want %+v", key, got, err, all)
		}
	}
	if rng.IntN(40) == 0 {
		scan(t, s, model, fmt.Sprintf("%c%d", "bc"[rng.IntN(2)], rng.IntN(9)))
	}
}

func scan(t *testing.T, s *spill.Set, model map[string][]version, prefix string) {
	t.Helper()
	var got, want []string
	if err := s.Scan([]byte(prefix), func(key, value []byte) error {
		got = append(got, fmt.Sprintf("%s=%s", key, value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if v := model[key][0]; strings.HasPrefix(key, prefix) && !v.deleted {
			want = append(want, key+"="+v.value)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("under %q:\n got %q\nwant %q", prefix, got, want)
	}
}

func tell(key string, v version) string {
	return fmt.Sprintf("%s@%d=%s %v", key, v.ts, v.value, v.deleted)
}

// parts reads all parts. No key may be in two.
func parts(t *testing.T, s *spill.Set, n int) (all []string) {
	t.Helper()
	list, err := s.Parts(n)
	if err != nil {
		t.Fatal(err)
	}
	var last []byte
	for _, p := range list {
		first := true
		for {
			v, err := p.Next()
			if err != nil {
				t.Fatal(err)
			}
			if v == nil {
				break
			}
			if first && bytes.Equal(v.Key, last) {
				t.Fatalf("%q is in two parts", v.Key)
			}
			first, last = false, append(last[:0], v.Key...)
			all = append(all, tell(string(v.Key), version{v.TS, string(v.Value), v.Deleted}))
		}
	}
	return all
}

// kept gives what is left of a model at a floor.
func kept(model map[string][]version, floor uint64) (all []string) {
	for _, key := range slices.Sorted(maps.Keys(model)) {
		for _, v := range model[key] {
			if v.ts > floor || !v.deleted {
				all = append(all, tell(key, v))
			}
			if v.ts <= floor {
				break
			}
		}
	}
	return all
}
