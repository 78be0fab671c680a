package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// Lists are shown in pages: so many entries, unless told otherwise, and never more.
const usualPage, mostPage = 100, 1000

// pageSize is the value of --limit.
type pageSize int

// Set reads the number of entries.
func (s *pageSize) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostPage {
		return fmt.Errorf("a page has 1 to %d entries", mostPage)
	}
	*s = pageSize(n)
	return nil
}

// String gives the number.
func (s *pageSize) String() string { return strconv.Itoa(int(*s)) }

// Type is what help calls such a value.
func (*pageSize) Type() string { return "number" }

// limited gives a command that lists the flag for how much.
func limited(cmd *cobra.Command, limit *int) {
	*limit = usualPage
	cmd.Flags().Var((*pageSize)(limit), "limit", fmt.Sprintf("`NUMBER` of entries at most, up to %d", mostPage))
}

// paged gives a command that lists the flags for a part of the list.
func paged(cmd *cobra.Command, limit *int, cursor *string) {
	limited(cmd, limit)
	cmd.Flags().StringVar(cursor, "cursor", "", "go on at this `CURSOR`, from the end of the list before")
}

// flagText says what is wrong with a flag, in no words of the parser of numbers.
func flagText(err error) string {
	if number, ok := errors.AsType[*strconv.NumError](err); ok {
		return strings.TrimSuffix(err.Error(), number.Error()) + "a number is wanted"
	}
	return err.Error()
}
