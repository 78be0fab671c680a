package lint

// New is [Parse] for names written in code.
func New(names ...string) (*Set, error) { return Parse(names) }

// Worst gives the highest severity among the findings, and below [Notice] if
// there are none.
func Worst(findings []Finding) Severity {
	worst := passed
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}
