// Package brazil knows the forms of the country that the platforms sell in:
// [Document] (CPF and CNPJ), [PostalCode] (CEP), [Phone] and the time zone
// [Brasilia]. Everything is normalised; nothing is refused: what does not hold
// is said, and the caller decides.
package brazil
