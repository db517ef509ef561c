package pemfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsNoCertificate(t *testing.T) {
	dir := t.TempDir()
	empty, large, none := filepath.Join(dir, "empty"), filepath.Join(dir, "large"), filepath.Join(dir, "none")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, make([]byte, maxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{empty: empty, large: "cannot read " + large, none: "cannot read " + none, dir: "cannot read " + dir} {
		if _, err := Pool(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("authorities of %s: %v", path, err)
		}
		if _, err := Pair(path, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a certificate of %s: %v", path, err)
		}
		if _, err := Pair(empty, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a key of %s: %v", path, err)
		}
	}
}
