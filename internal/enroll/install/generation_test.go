package install

import (
	"os"
	"path/filepath"
	"testing"
)

func TestGenerations(t *testing.T) {
	for name, want := range map[string]int{
		"g000001": 1, "g000012": 12, "g1234567": 1234567, "g00001": 0, "g00000x": 0, "x000001": 0, "000001": 0, "g-00001": 0, "": 0, "g000000": 0,
	} {
		if got := GenerationNumber(name); got != want {
			t.Errorf("%q: %d", name, got)
		}
	}
	if got := GenerationName(12); got != "g000012" {
		t.Error(got)
	}
	dir, b := t.TempDir(), bundle(t, 1)
	first, err := WriteGeneration(dir, b)
	if err != nil || first != "g000001" {
		t.Fatalf("%q, %v", first, err)
	}
	for file, mode := range map[string]os.FileMode{KeyFile: 0o600, CertFile: 0o644, ChainFile: 0o644, FullChainFile: 0o644} {
		if info, err := os.Stat(filepath.Join(dir, first, file)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, first, FullChainFile))
	if err != nil {
		t.Fatal(err)
	}
	if chain, err := ParseCertificates(text); err != nil || len(chain) != len(b.Chain) || !chain[0].Equal(b.Chain[0]) {
		t.Errorf("%d certificates, %v", len(chain), err)
	}
	for range GenerationsKept + 1 {
		if _, err := WriteGeneration(dir, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := PruneGenerations(dir, first); err != nil { // which is in use
		t.Fatal(err)
	}
	numbers, err := Generations(dir)
	if err != nil || len(numbers) != GenerationsKept+1 || numbers[0] != GenerationsKept+2 || numbers[GenerationsKept] != 1 {
		t.Errorf("%v, %v", numbers, err)
	}
	if _, err := Generations(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there has generations")
	}
}
