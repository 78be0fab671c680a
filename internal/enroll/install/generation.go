package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"chancery/internal/durable"
)

// The files of a generation: a directory with a key and its certificates, which is
// complete as soon as it has its name, and never changes. Which generation is in use is
// its owner's to say.
const (
	KeyFile       = "privkey.pem"
	CertFile      = "cert.pem"
	ChainFile     = "chain.pem" // the intermediates
	FullChainFile = "fullchain.pem"
)

// GenerationsKept is how many [PruneGenerations] leaves, the one in use included.
const GenerationsKept = 5

// GenerationName is the name of the nth, counted from 1: "g000012".
func GenerationName(n int) string { return fmt.Sprintf("g%06d", n) }

// GenerationNumber reads a name; 0: it is no generation's.
func GenerationNumber(name string) int {
	digits, ok := strings.CutPrefix(name, "g")
	if !ok || len(digits) < 6 || strings.Trim(digits, "0123456789") != "" {
		return 0
	}
	n, _ := strconv.Atoi(digits)
	return n
}

// Generations lists the numbers that there are in dir, falling.
func Generations(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, durable.Explain(err, dir)
	}
	var numbers []int
	for _, e := range entries {
		if n := GenerationNumber(e.Name()); n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	return numbers, nil
}

// WriteGeneration stores a key and its certificates as the next generation in dir, durably,
// and gives its name. The key is its owner's alone.
func WriteGeneration(dir string, b Bundle) (name string, err error) {
	numbers, err := Generations(dir)
	if err != nil {
		return "", err
	}
	name = GenerationName(append(numbers, 0)[0] + 1)
	key, err := EncodeKey(b.Key)
	if err != nil {
		return "", err
	}
	defer clear(key)
	durable.Step("mkdir", filepath.Join(dir, name))
	unnamed, err := os.MkdirTemp(dir, "."+name+".chancery-*") // mode 0700
	if err != nil {
		return "", durable.Explain(err, filepath.Join(dir, name))
	}
	for _, f := range []durable.File{
		{Path: KeyFile, Data: key, Mode: 0o600},
		{Path: CertFile, Data: EncodeCertificates(b.Chain[0]), Mode: 0o644},
		{Path: ChainFile, Data: EncodeCertificates(b.Chain[1:]...), Mode: 0o644},
		{Path: FullChainFile, Data: EncodeCertificates(b.Chain...), Mode: 0o644},
	} {
		f.Path, f.Owner = filepath.Join(unnamed, f.Path), durable.Nobody
		if err := durable.Write(f); err != nil {
			return "", errors.Join(err, os.RemoveAll(unnamed))
		}
	}
	if err := durable.Rename(unnamed, filepath.Join(dir, name)); err != nil {
		return "", errors.Join(err, os.RemoveAll(unnamed))
	}
	return name, nil
}

// PruneGenerations deletes all but the latest in dir, and never the current one.
func PruneGenerations(dir, current string) error {
	numbers, err := Generations(dir)
	if err != nil || len(numbers) <= GenerationsKept {
		return err
	}
	for _, n := range numbers[GenerationsKept:] {
		if name := GenerationName(n); name != current {
			durable.Step("remove", name)
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return durable.Explain(err, filepath.Join(dir, name))
			}
		}
	}
	return nil
}
