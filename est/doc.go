// Package est holds the encodings of Enrollment over Secure Transport (RFC 7030 with
// RFC 8951, RFC 7894 and RFC 9908): paths and labels (operation.go), bodies (body.go,
// media.go, multipart.go), certification requests with the attributes that EST gives
// them (request.go, parsed.go, attributes.go), what binds a request to its TLS
// connection (binding.go), the CSR attributes by which a server says what it wants
// (csrattrs.go, template.go, want.go), keys and bags of certificates in answers
// (serverkey.go, anchors.go, rollover.go), and the client (client.go and its
// neighbours).
//
// Servers and clients share these definitions, so they decide nothing: the package
// knows no policy, no storage and no listener, and imports of this module only cms.
// What strangers send is read within stated bounds. Where the field is known to
// differ from the letter, bodies are read leniently, as each function says; what is
// written is always the strict form.
package est
