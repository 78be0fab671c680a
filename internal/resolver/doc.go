// Package resolver asks DNS servers, and says plainly what they answered.
//
// It is the one room that speaks DNS: the validators use it to find addresses
// and TXT records, and whoever reads CAA records uses [Resolver.CAA]. It
// keeps no cache, because a validator must see what is published now.
//
// It must not know why it is asked: challenges, certificates, accounts and
// policy about addresses live elsewhere. An address it returns is what the DNS
// said and nothing more; whoever dials it checks it first.
package resolver
