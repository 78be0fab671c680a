package owned

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// Program judges a program that is about to be run, or a library that is about to be
// loaded: the file, the directory that holds it, as [Dir], and every directory and link on
// the way to it. It gives where the way leads, without links. Errors are *[Refusal] and the
// file system's; what is not there must not be run either, as others may be able to put it
// there in the meantime.
//
// Whoever runs it by its name is as safe as by what is given here: a script may look at the
// name.
func Program(name string) (string, error) {
	if !filepath.IsAbs(name) {
		here, err := os.Getwd()
		if err != nil {
			return "", err
		}
		name = here + "/" + name // not cleaned: a link before ".." leads elsewhere
	}
	return us().program(name)
}

func (s self) program(name string) (string, error) {
	end, info, err := s.way(name)
	if err != nil {
		return "", s.elsewhere(err)
	}
	holder, err := os.Lstat(path.Dir(end))
	if err != nil {
		return "", err
	}
	// In a directory where others may add files, as /tmp, theirs could be taken for those
	// that a program looks for beside itself.
	if err := s.final(path.Dir(end), factsOf(holder)); err != nil {
		return "", s.elsewhere(err)
	}
	f := factsOf(info)
	if err := s.content(end, f); err != nil {
		if s.apart(f) {
			err = s.elsewhere(err)
		}
		return "", err
	}
	return end, nil
}

// elsewhere advises what to do about a program: not to take a stranger's directory over.
func (s self) elsewhere(err error) error {
	r, is := errors.AsType[*Refusal](err)
	if !is {
		return err
	}
	who := "root"
	if s.uid != 0 {
		who = fmt.Sprintf("root or %s", Name(s.uid))
	}
	return refuse(r.Path, r.wrong, "install it where only "+who+" may write, and name that place")
}
