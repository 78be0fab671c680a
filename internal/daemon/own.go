package daemon

import (
	"fmt"
	"path/filepath"
	"strings"

	"chancery/internal/config"
	"chancery/internal/owned"
)

// own makes the data directory and refuses it if somebody else could have put anything
// there, or could do so. It comes before anything is made, taken or changed in it.
func own(c *config.Config) error {
	if err := owned.MakeDir(c.Data); err != nil {
		return fmt.Errorf("the data directory cannot be used; choose another with --data: %w", err)
	}
	files := []string{filepath.Join(c.Data, "admin"), KeyDirectory(c)}
	if path, local := strings.CutPrefix(databaseURL(c), "sqlite:"); local {
		path = strings.TrimPrefix(path, "//") // as sqldb reads it
		if err := owned.MakeDir(filepath.Dir(path)); err != nil {
			return fmt.Errorf("database.url: the directory of the database cannot be used: %w", err)
		}
		for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
			files = append(files, path+suffix)
		}
	}
	for _, file := range files {
		if err := owned.Entry(file); err != nil {
			return fmt.Errorf("the data directory cannot be used: %w", err)
		}
	}
	return nil
}

// databaseURL is that of the configuration, or of the file in the data directory.
func databaseURL(c *config.Config) string {
	if c.Database.URL != "" {
		return c.Database.URL
	}
	return "sqlite:" + filepath.Join(c.Data, "chancery.db")
}
