//go:build linux

package powercut_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/assigndex/assigndex/deploy/loopfstest"
)

var (
	cutsFlag   = flag.Int("cuts", 4, "how many images TestPowerCuts takes")
	imagesFlag = flag.String("images", "", "directory of the images, which take up to 500 MB; empty: a temporary one")
	seedFlag   = flag.Uint64("seed", 0, "seed of what is published and of when power is cut; 0: a new one")
)

const (
	// diskBytes is the size of the disk that is cut off. Most of it stays empty.
	diskBytes = 1 << 30
	// life is how many images are taken of one life of the child. The next one goes on
	// from the last of them. The kernel writes by itself what is 30 seconds old, so a
	// life is short.
	life = 4
	// fresh is after how many images a new disk takes the place of the old one, which
	// takes the longer to check the more events it has seen.
	fresh = 3 * life
)

// TestPowerCuts cuts the power at random moments, and checks what is left.
func TestPowerCuts(t *testing.T) {
	m := newMachine(t)
	batches, ahead, behind, torn := 0, 0, 0, 0
	for left := *cutsFlag; left > 0; left -= life {
		if m.images > 0 && m.images%fresh == 0 {
			batches += len(m.told.batches)
			m.told = told{}
			loopfstest.Format(t, m.disk, diskBytes)
		}
		for _, c := range m.live(min(left, life), "") {
			f, err := m.inspect(c)
			if err != nil {
				t.Fatalf("-seed %d: image %d: %v", m.seed, c.number, err)
			}
			if f.watermark < f.last {
				behind++
			}
			if f.torn {
				torn++
			}
			if n := len(c.told.batches); n == 0 || f.last > c.told.batches[n-1].last {
				ahead++
			}
		}
	}
	t.Logf("%d images, %d batches acknowledged; in %d the stream held more than was acknowledged, in %d the index was behind it, in %d it ended in the midst of a batch",
		m.images, batches+len(m.told.batches), ahead, behind, torn)
}

// TestTheCheckFindsWhatIsLost shows that the check can fail: the child's kernel lies
// about syncing the stream, or the index, and the check says what is lost.
func TestTheCheckFindsWhatIsLost(t *testing.T) {
	if _, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil {
		t.Skipf("lying about syncing needs seccomp filters: %v", err)
	}
	for about, want := range map[string]string{"fsync": "the stream: ", "msync": "the index: "} {
		t.Run(about, func(t *testing.T) {
			m := newMachine(t)
			for range 3 {
				for _, c := range m.live(1, about) {
					if _, err := m.inspect(c); err != nil {
						if !strings.HasPrefix(err.Error(), want) {
							t.Errorf("it says %v, want %q", err, want)
						}
						t.Logf("found: %v", err)
						return
					}
				}
			}
			t.Errorf("-seed %d: nothing is lost although %s does nothing", m.seed, about)
		})
	}
}

// machine is a disk, and what the child that runs on it has told.
type machine struct {
	*testing.T
	seed   uint64
	rng    *rand.Rand
	outer  *loopfstest.FS // holds the disk
	disk   string         // the file that is the disk
	dir    string         // of the images
	images int

	told told // by all lives; of a life that is over, what its last image has to hold
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	loopfstest.Require(t)
	m := &machine{T: t, seed: *seedFlag, dir: *imagesFlag}
	if m.seed == 0 {
		m.seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	t.Logf("-seed %d", m.seed)
	m.rng = rand.New(rand.NewPCG(m.seed, 7))
	if m.dir == "" {
		m.dir = t.TempDir()
	}
	m.outer = loopfstest.New(t, t.TempDir(), diskBytes+diskBytes/2)
	m.disk = filepath.Join(m.outer.Dir, "disk.img")
	loopfstest.Format(t, m.disk, diskBytes)
	return m
}

// cut is an image.
type cut struct {
	number int
	image  string
	last   bool // of its life
	told   told // before it
}

// live runs the child on the disk, takes so many images at random moments, and cuts
// the power with the last of them.
func (m *machine) live(images int, about string) []cut {
	m.Helper()
	inner := loopfstest.Mount(m.T, m.disk)
	defer inner.Unmount(m.T)
	c := m.start(inner.Dir, about)
	defer c.kill()
	var cuts []cut
	for i := range images {
		// Acknowledgements come every few milliseconds, and what is told as applied
		// between them: so it is in the midst of something.
		c.await(c.heard() + 10 + m.rng.IntN(120))
		m.images++
		image := filepath.Join(m.dir, fmt.Sprintf("cut-%d.img", m.images))
		m.control(inner.Dir)
		before := c.snapshot()
		m.outer.Copy(m.T, m.disk, image)
		cuts = append(cuts, cut{m.images, image, i == images-1, before})
		m.told = before
	}
	return cuts
}

// Control files: whether a copy holds them shows that it is a power cut.
const (
	syncedFile   = "synced"
	unsyncedFile = "unsynced"
)

// control writes two files of which one is synced, with the number of the image.
func (m *machine) control(dir string) {
	m.Helper()
	for _, name := range []string{unsyncedFile, syncedFile} {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(name, m.images)))
		if err != nil {
			m.Fatal(err)
		}
		_, err = f.WriteString(name)
		if err == nil && name == syncedFile {
			err = f.Sync()
		}
		if closed := f.Close(); err != nil || closed != nil {
			m.Fatal(err, closed)
		}
	}
}

// inspect mounts an image, checks it, and makes it the disk when it is the last of
// its life.
func (m *machine) inspect(c cut) (found, error) {
	m.Helper()
	fs := loopfstest.Mount(m.T, c.image)
	for name, want := range map[string]string{syncedFile: syncedFile, unsyncedFile: ""} {
		got, err := os.ReadFile(filepath.Join(fs.Dir, fmt.Sprint(name, c.number)))
		if string(got) != want || (err != nil && (want != "" || !os.IsNotExist(err))) {
			m.Fatalf("image %d is no power cut: the %s file holds %q, %v", c.number, name, got, err)
		}
	}
	f, err := check(m.T, filepath.Join(fs.Dir, "data"), c.told)
	fs.Unmount(m.T)
	if c.last {
		loopfstest.CopySparse(m.T, c.image, m.disk)
	}
	if err := os.Remove(c.image); err != nil {
		m.Error(err)
	}
	return f, err
}

// process is one life of the child.
type process struct {
	*testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer  // read after ended
	ended  chan struct{} // closed when its output has ended

	mu      sync.Mutex // guards what follows
	told    told
	lines   int
	changed chan struct{} // closed and replaced when one of them changes
}

func (m *machine) start(dir, about string) *process {
	m.Helper()
	p := &process{T: m.T, ended: make(chan struct{}), changed: make(chan struct{})}
	p.told.batches, p.told.applied = m.told.batches, m.told.applied
	p.cmd = exec.Command(os.Args[0], "-test.run=^$")
	p.cmd.Env = append(os.Environ(), childDir+"="+filepath.Join(dir, "data"), fmt.Sprint(childSeed, "=", m.rng.Uint64()), childLie+"="+about)
	p.cmd.Stderr = &p.stderr
	if _, err := p.cmd.StdinPipe(); err != nil { // it ends when we do
		m.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		m.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(p.kill)
	go p.listen(out)
	p.await(1)
	return p
}

func (p *process) listen(out io.Reader) {
	defer close(p.ended)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.mu.Lock()
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case lineAcked:
			var b batch
			_, _ = fmt.Sscan(rest, &b.first, &b.last, &b.hash)
			p.told.batches = append(p.told.batches, b)
		case lineApplied:
			_, _ = fmt.Sscan(rest, &p.told.applied)
		}
		p.lines++
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// heard gives how many lines the child has told.
func (p *process) heard() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines
}

// snapshot gives what was told so far.
func (p *process) snapshot() told {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.told.batches)
	return told{p.told.batches[:n:n], p.told.applied}
}

// await waits until the child has told so many lines.
func (p *process) await(lines int) {
	p.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		enough, changed := p.lines >= lines, p.changed
		p.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-changed:
		case <-p.ended:
			_ = p.cmd.Wait()
			p.Fatalf("the child ended: %s", &p.stderr)
		case <-timeout:
			p.Fatalf("waited %s for line %d of the child", patience, lines)
		}
	}
}

// kill ends the child. It may be called again.
func (p *process) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil {
		p.Errorf("kill: %v", err)
	}
	<-p.ended
	_ = p.cmd.Wait() // says that it was killed
}
