package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/assigndex/assigndex/indexer/fault"
)

const (
	pointerFile = "CURRENT"
	// first is the name of the first generation, and begins the names of all.
	first = "index"
)

// ErrPointer is returned for a pointer file that names no generation.
var ErrPointer = errors.New("the pointer to the index cannot be followed")

// Current gives the path of the current generation of a data directory. It need not
// exist: a new data directory has none yet.
func Current(data string) (string, error) {
	name, err := current(data)
	return filepath.Join(data, name), err
}

func current(data string) (string, error) {
	path := filepath.Join(data, pointerFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return first, nil
	}
	if err != nil {
		return "", err
	}
	name := strings.TrimSuffix(string(content), "\n")
	if _, ok := number(name); !ok {
		return "", fmt.Errorf("%w: %s holds %q; write the name of a directory beside it there, such as %q, or remove the file when that is %q",
			ErrPointer, path, content, first+"-2", first)
	}
	if _, err := os.Stat(filepath.Join(data, name)); err != nil {
		return "", fmt.Errorf("%w: %s names %s: %w", ErrPointer, path, name, err)
	}
	return name, nil
}

// number gives the number of a generation's name.
func number(name string) (n uint64, ok bool) {
	if name == first {
		return 1, true
	}
	text, ok := strings.CutPrefix(name, first+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 63)
	// One name for each number: no sign, no leading zero.
	return n, err == nil && n >= 2 && name == nameOf(n)
}

func nameOf(n uint64) string {
	if n == 1 {
		return first
	}
	return first + "-" + strconv.FormatUint(n, 10)
}

// Fresh gives a path for a new generation, of which nothing is there.
func Fresh(data string) (string, error) {
	all, err := list(data)
	if err != nil {
		return "", err
	}
	highest := uint64(1)
	for _, name := range all {
		n, _ := number(name)
		highest = max(highest, n)
	}
	return filepath.Join(data, nameOf(highest+1)), nil
}

func list(data string) (names []string, err error) {
	entries, err := os.ReadDir(data)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, ok := number(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Swap makes the generation at a path that Fresh gave the current one. What is in it
// must be durable. It is done when the pointer names it, which an error leaves open.
func Swap(data, dir string, hook fault.Hook) error {
	name := filepath.Base(dir)
	if _, ok := number(name); !ok || filepath.Join(data, name) != filepath.Clean(dir) {
		return fmt.Errorf("swap: %s is no generation of %s", dir, data)
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	return hook.Step(fault.Swap, func() error { return write(data, pointerFile, []byte(name+"\n")) })
}

// write replaces a file of a data directory at once, durably.
func write(data, name string, content []byte) error {
	path := filepath.Join(data, name)
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(data)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Sweep removes every generation that is not current.
func Sweep(data string, hook fault.Hook) error {
	now, err := current(data)
	if err != nil {
		return err
	}
	all, err := list(data)
	if err != nil {
		return err
	}
	for _, name := range all {
		if name == now {
			continue
		}
		if err := hook.Step(fault.Sweep, func() error { return os.RemoveAll(filepath.Join(data, name)) }); err != nil {
			return fmt.Errorf("remove a generation of the index that is not current: %w", err)
		}
	}
	return nil
}
