package solve

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/libdns/libdns"
)

// Provider is what is needed of a libdns provider, as those of github.com/libdns have it.
type Provider interface {
	libdns.RecordAppender
	libdns.RecordDeleter
}

// LibDNS publishes through a libdns provider.
type LibDNS struct{ Provider Provider }

// Publish appends the record; providers never change others.
func (l *LibDNS) Publish(ctx context.Context, a Answer) error {
	if _, err := l.Provider.AppendRecords(ctx, a.Zone, []libdns.Record{a.record()}); err != nil {
		return fmt.Errorf("appending %s to zone %s: %w", a.Name, a.Zone, err)
	}
	return nil
}

// Withdraw deletes the record of that name, type and text. No TTL is given, which
// matches any (libdns.RecordDeleter): some services raise short ones.
func (l *LibDNS) Withdraw(ctx context.Context, a Answer) error {
	record := a.record()
	record.TTL = 0
	if _, err := l.Provider.DeleteRecords(ctx, a.Zone, []libdns.Record{record}); err != nil {
		return fmt.Errorf("deleting %s from zone %s: %w", a.Name, a.Zone, err)
	}
	return nil
}

func (a Answer) record() libdns.TXT {
	return libdns.TXT{Name: libdns.RelativeName(a.Name, a.Zone), TTL: a.TTL, Text: a.Value}
}

// NewLibDNS makes the provider that is registered under a name and fills its fields,
// which are strings by their JSON names: a value "file:PATH" or "credential:NAME" is the
// secret that it refers to, any other value itself. An unknown name or field is an error
// that lists the known ones.
func NewLibDNS(name string, fields map[string]string) (*LibDNS, error) {
	fresh, ok := Providers[name]
	if !ok {
		return nil, fmt.Errorf("no libdns provider %s is built in (there are: %s); exec and rfc2136 are always there",
			quote(name), strings.Join(slices.Sorted(maps.Keys(Providers)), ", "))
	}
	provider := fresh()
	if err := fill(provider, fields); err != nil {
		return nil, fmt.Errorf("libdns provider %s: %w", name, err)
	}
	return &LibDNS{provider}, nil
}

// fill sets the string fields of the struct behind a pointer. It does not go through
// JSON, whose errors repeat values.
func fill(provider Provider, fields map[string]string) error {
	value := reflect.ValueOf(provider)
	if value.Kind() != reflect.Pointer || value.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("it is not a pointer to a struct")
	}
	settable := map[string]reflect.Value{}
	for field, v := range value.Elem().Fields() {
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag != "" && tag != "-" && field.IsExported() && field.Type.Kind() == reflect.String {
			settable[tag] = v
		}
	}
	for name, text := range fields {
		v, ok := settable[name]
		if !ok {
			return fmt.Errorf("it has no setting %s, but: %s", quote(name), strings.Join(slices.Sorted(maps.Keys(settable)), ", "))
		}
		if strings.HasPrefix(text, "file:") || strings.HasPrefix(text, "credential:") {
			secret, err := readSecret(text)
			if err != nil {
				return fmt.Errorf("setting %s: %w", name, err)
			}
			text = secret
		}
		v.SetString(text)
	}
	return nil
}
