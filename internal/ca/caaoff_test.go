package ca

import "testing"

// Where CAA is off the road costs what it did before.
func TestCAAOffCostsNothing(t *testing.T) {
	a := &Authority{}
	if err := a.SetCAA(CAARules{}); err != nil {
		t.Fatal(err)
	}
	name, err := DNS("a.example")
	if err != nil {
		t.Fatal(err)
	}
	p := Shipped()["tls-server"]
	req := &Request{Names: []Identifier{name}}
	allocated := testing.AllocsPerRun(100, func() {
		if said, err := a.askCAA(t.Context(), p, req); said != "" || err != nil {
			t.Fatal(said, err)
		}
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}
