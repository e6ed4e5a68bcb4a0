package transport

import "net/http"

// Shake reads an upgrade request, and answers it where it is one.
func Shake(r *http.Request, offered []string, compression bool) (subprotocol string, deflate bool, answer []byte, status int, err error) {
	h, status, err := shake(r, offered, compression)
	if err != nil {
		return "", false, nil, status, err
	}
	return h.subprotocol, h.deflate, h.answer(nil), status, nil
}
