package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/assigndex/assigndex/query/client"
)

// server stands for "assigndex serve" and has two pages.
func server() *httptest.Server {
	pages := []string{
		`{"cursor":"AQ","assignments":[{"ent_id":"Web_Shared_Edit","usr_id":"aaron.fischer","score":0.6,"justification":[]}]}`,
		`{"cursor":null,"assignments":[{"ent_id":"Web_Shared_Edit","usr_id":"aaron.foltz","score":0.98,"justification":[]}]}`,
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Assigndex-Seq", "7")
		w.Header().Set("Assigndex-Stream", "0123456789abcdef")
		_, _ = w.Write([]byte(pages[0]))
		pages = pages[1:]
	}))
}

// Every assignment of an entitlement with a high score, all pages at one snapshot,
// which holds at least what was published up to sequence 7.
func Example() {
	s := server()
	defer s.Close()

	c, err := client.New(client.Options{URL: s.URL, APIKey: "adx_…"})
	if err != nil {
		panic(err)
	}
	least := 0.5
	request := client.Request{EntID: "Web_Shared_Edit", MinScore: &least, AtLeast: 7}
	for a, err := range c.All(context.Background(), request) {
		if problem := (*client.Error)(nil); errors.As(err, &problem) {
			fmt.Println("refused:", problem.Code) // such as history_pruned: begin again
			return
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(a.UsrID, *a.Score)
	}
	// Output:
	// aaron.fischer 0.6
	// aaron.foltz 0.98
}
