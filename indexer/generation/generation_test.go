package generation_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/generation"
)

func mustMake(t *testing.T, data string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(data, name, "inside"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func currentName(t *testing.T, data string) string {
	t.Helper()
	dir, err := generation.Current(data)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(dir)
}

func TestWithoutAPointerTheFirstGenerationIsCurrent(t *testing.T) {
	data := t.TempDir()
	if got := currentName(t, data); got != "index" {
		t.Fatalf("current is %s", got)
	}
	fresh, err := generation.Fresh(data)
	if err != nil || fresh != filepath.Join(data, "index-2") {
		t.Fatalf("fresh is %s, %v", fresh, err)
	}
}

func TestSwapAndSweep(t *testing.T) {
	data := t.TempDir()
	mustMake(t, data, "index", "nats", "index-old", "index-02", "until-7")
	for _, want := range []string{"index-2", "index-3", "index-4"} {
		fresh, err := generation.Fresh(data)
		if err != nil || filepath.Base(fresh) != want {
			t.Fatalf("fresh is %s, %v; want %s", fresh, err, want)
		}
		mustMake(t, data, want)
		if err := generation.Swap(data, fresh, nil); err != nil {
			t.Fatal(err)
		}
		if got := currentName(t, data); got != want {
			t.Fatalf("current is %s, want %s", got, want)
		}
	}
	if err := generation.Sweep(data, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	// What is not a generation's name is not ours to remove.
	if want := []string{"CURRENT", "index-02", "index-4", "index-old", "nats", "until-7"}; !slices.Equal(names, want) {
		t.Fatalf("left are %v, want %v", names, want)
	}
}

// Whichever side of the swap fails, the pointer names one of the two.
func TestSwapThatFails(t *testing.T) {
	for _, done := range []bool{false, true} {
		data := t.TempDir()
		mustMake(t, data, "index", "index-2")
		broken := errors.New("broken")
		err := generation.Swap(data, filepath.Join(data, "index-2"), func(at fault.Point, after bool) error {
			if at == fault.Swap && after == done {
				return broken
			}
			return nil
		})
		if !errors.Is(err, broken) {
			t.Fatalf("swap gave %v", err)
		}
		if got, want := currentName(t, data), map[bool]string{false: "index", true: "index-2"}[done]; got != want {
			t.Fatalf("done %v: current is %s, want %s", done, got, want)
		}
	}
}

func TestSwapRefusesWhatIsNoGeneration(t *testing.T) {
	data := t.TempDir()
	mustMake(t, data, "index", "index-2", "nats", "nats/index-2")
	for _, dir := range []string{"nats", "index-3", "nats/index-2", "index-02", "."} {
		if err := generation.Swap(data, filepath.Join(data, dir), nil); err == nil {
			t.Errorf("%s was made current", dir)
		}
	}
	if got := currentName(t, data); got != "index" {
		t.Fatalf("current is %s", got)
	}
}

func TestPointersThatCannotBeFollowed(t *testing.T) {
	for _, content := range []string{"", "\n", "nats\n", "../index\n", "index-1\n", "index-02\n", "index-2\n\n", "index-9\n"} {
		data := t.TempDir()
		mustMake(t, data, "index", "index-2", "nats", "index-1", "index-02")
		if err := os.WriteFile(filepath.Join(data, "CURRENT"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if dir, err := generation.Current(data); !errors.Is(err, generation.ErrPointer) {
			t.Errorf("%q: %s, %v", content, dir, err)
		}
		if err := generation.Sweep(data, nil); !errors.Is(err, generation.ErrPointer) {
			t.Errorf("%q: sweep gave %v", content, err)
		}
		if _, err := os.Stat(filepath.Join(data, "index")); errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: a generation was removed", content)
		}
	}
}

func TestOneLocksADataDirectory(t *testing.T) {
	data := t.TempDir()
	unlock, err := generation.Lock(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := generation.Lock(data); !errors.Is(err, generation.ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = generation.Lock(data)
	if err != nil {
		t.Fatalf("after that: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}
