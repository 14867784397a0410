// Command values prints what Kubernetes' own libraries make of many texts: quantities, percentages, label selectors, versions.
// Its output is fixtures/upstream-values.json, against which the importer is tested:
//
//	cd ci/values && go run . > ../../fixtures/upstream-values.json
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/version"
)

type quantity struct {
	Text  string `json:"text"`
	Valid bool   `json:"valid"`
	Milli int64  `json:"milli"`
	Whole int64  `json:"whole"`
}

type scaled struct {
	Value string `json:"value"`
	Total int    `json:"total"`
	Up    int    `json:"up"`
	Down  int    `json:"down"`
}

type selection struct {
	Selector *metav1.LabelSelector `json:"selector"`
	Valid    bool                  `json:"valid"`
	Labels   []map[string]string   `json:"labels"`
	Matches  []bool                `json:"matches"`
}

type parsed struct {
	Text  string `json:"text"`
	Minor uint   `json:"minor"`
	Patch uint   `json:"patch"`
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.Intn(len(from))] }

func quantities(r *rand.Rand) (all []quantity) {
	suffixes := []string{"", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E2", "e-3", "e+2", "K", "mi", "i", "MB", "e", " "}
	texts := []string{"", ".", "-", "+", "0", "-0", "1.", ".5", "1..2", "1.2.3", "--1", "1e1000", "abc", "1 Gi", "9223372036854775807", "0x10", "1_000", "１"}
	for len(texts) < 600 {
		text := pick(r, []string{"", "", "", "-", "+"}) + fmt.Sprint(r.Intn(pick(r, []int{10, 1000, 10000000})))
		if r.Intn(3) == 0 {
			text += "." + pick(r, []string{"", "0", "5", "25", "001", "999999999", "1234567891"})
		}
		texts = append(texts, text+pick(r, suffixes))
	}
	for _, text := range texts {
		q, err := resource.ParseQuantity(text)
		one := quantity{Text: text, Valid: err == nil}
		if err == nil {
			one.Milli, one.Whole = q.MilliValue(), q.Value()
		}
		all = append(all, one)
	}
	return
}

func percentages(r *rand.Rand) (all []scaled) {
	for i := 0; i < 400; i++ {
		value := intstr.Parse(fmt.Sprintf("%d%%", r.Intn(130)))
		if r.Intn(4) == 0 {
			value = intstr.FromInt32(int32(r.Intn(12)))
		}
		total := r.Intn(40)
		up, _ := intstr.GetScaledValueFromIntOrPercent(&value, total, true)
		down, _ := intstr.GetScaledValueFromIntOrPercent(&value, total, false)
		all = append(all, scaled{value.String(), total, up, down})
	}
	return
}

func selections(r *rand.Rand) (all []selection) {
	keys, values := []string{"a", "b", "example.com/c"}, []string{"", "x", "y", "z-1"}
	set := func() map[string]string {
		found := map[string]string{}
		for _, key := range keys {
			if r.Intn(2) == 0 {
				found[key] = pick(r, values)
			}
		}
		return found
	}
	operators := []metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist", "In", "NotIn", "Near"}
	for i := 0; i < 400; i++ {
		selector := &metav1.LabelSelector{}
		if r.Intn(2) == 0 {
			selector.MatchLabels = map[string]string{pick(r, keys): pick(r, values)}
		}
		for n := r.Intn(3); n > 0; n-- {
			one := metav1.LabelSelectorRequirement{Key: pick(r, keys), Operator: pick(r, operators)}
			for v := r.Intn(3); v > 0; v-- {
				one.Values = append(one.Values, pick(r, values))
			}
			selector.MatchExpressions = append(selector.MatchExpressions, one)
		}
		compiled, err := metav1.LabelSelectorAsSelector(selector)
		one := selection{Selector: selector, Valid: err == nil, Labels: []map[string]string{}, Matches: []bool{}}
		for n := 0; n < 6 && err == nil; n++ {
			on := set()
			one.Labels, one.Matches = append(one.Labels, on), append(one.Matches, compiled.Matches(labels.Set(on)))
		}
		all = append(all, one)
	}
	return
}

func versions() (all []parsed) {
	for _, text := range []string{"v1.36.2", "1.36.2", "v1.37.0-rc.1", "v1.36.2+k3s1", "v1.35.12-gke.100", "v1.30.0-alpha.2.11+abcdef", "1.36", "v1.36.10"} {
		v := version.MustParseGeneric(text)
		all = append(all, parsed{text, v.Minor(), v.Patch()})
	}
	return
}

func main() {
	r := rand.New(rand.NewSource(1))
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]any{
		"quantities": quantities(r), "percentages": percentages(r), "selectors": selections(r), "versions": versions(),
	}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
