package containertest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The two Dockerfiles differ in where the files come from and in nothing else.
func TestDockerfilesMakeTheSameImage(t *testing.T) {
	built, binary := finalStage(t, "Dockerfile"), finalStage(t, "Dockerfile.binary")
	if !slices.Equal(built, binary) {
		t.Errorf("Dockerfile ends in\n%s\nand Dockerfile.binary in\n%s", strings.Join(built, "\n"), strings.Join(binary, "\n"))
	}
	for _, want := range []string{"USER " + imageUser, "VOLUME /data", `ENTRYPOINT ["/assigndex"]`, `CMD ["serve"]`} {
		if !slices.Contains(built, want) {
			t.Errorf("the image lacks %s", want)
		}
	}
}

// finalStage gives the lines of the stage from scratch, without comments, and
// of a COPY its owner and destination only.
func finalStage(t *testing.T, name string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	_, stage, found := strings.Cut(string(content), "\nFROM scratch\n")
	if !found {
		t.Fatalf("%s has no stage from scratch", name)
	}
	var lines []string
	for line := range strings.Lines(stage) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case words[0] == "COPY":
			words = slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "--from=") })
			line = strings.Join(slices.Delete(words, len(words)-2, len(words)-1), " ")
		}
		lines = append(lines, line)
	}
	return lines
}
