// Package cors decides which pages may read answers, by the CORS protocol of the Fetch standard
// (https://fetch.spec.whatwg.org/#http-cors-protocol).
//
// A listed origin may read every answer, our own problems and replays included, and every field that the
// protocol defines. What an answer that is passed on already says to pages is extended, never said twice. For
// other origins an answer stays as it is, but for Vary: caches must not hand one page's answer to another.
//
// It decides who may read, never who may send: a page of any origin can send simple requests, as everybody can
// who has no browser. Who is asking is package caller's.
package cors
