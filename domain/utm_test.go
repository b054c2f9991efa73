package domain_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
)

func TestUTMIsInOrderOfNames(t *testing.T) {
	values := map[string]string{"utm_source": "ads", "utm_campaign": "may", "src": "", "": "x"}
	u := domain.UTMOf(values)
	want := domain.UTM{{Name: "", Value: "x"}, {Name: "src"}, {Name: "utm_campaign", Value: "may"}, {Name: "utm_source", Value: "ads"}}
	if diff := cmp.Diff(want, u); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(values, u.Map()); diff != "" {
		t.Errorf("the map (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(u)
	if want := `{"":"x","src":"","utm_campaign":"may","utm_source":"ads"}`; err != nil || string(text) != want {
		t.Errorf("JSON = %s, %v; want %s", text, err, want)
	}
}

func TestUTMOfNothingIsNil(t *testing.T) {
	if u := domain.UTMOf(map[string]string{}); u != nil {
		t.Errorf("of an empty map: %v", u)
	}
	if values := (domain.UTM{}).Map(); values != nil {
		t.Errorf("the map of none: %v", values)
	}
}
