# Flattens a JSON document: one "path<TAB>value" line for each string, number or literal, with
# path parts joined by "/" and array members counted from 0. A newline inside a string stays \n.
{ text = text $0 "\n" }

END {
    pos = 1
    value("")
}

function skip() {
    while (index(" \t\r\n", substr(text, pos, 1)) && pos <= length(text)) pos++
}

function member(path, name) {
    return path == "" ? name : path "/" name
}

function value(path,    c, rest) {
    skip()
    c = substr(text, pos, 1)
    if (c == "{") object(path)
    else if (c == "[") array(path)
    else if (c == "\"") print path "\t" string()
    else {
        rest = substr(text, pos)
        if (!match(rest, /^[-+.0-9A-Za-z]+/)) exit 1
        print path "\t" substr(rest, 1, RLENGTH)
        pos += RLENGTH
    }
}

function object(path,    name) {
    pos++
    for (;;) {
        skip()
        if (substr(text, pos, 1) == ",") { pos++; continue }
        if (substr(text, pos, 1) == "}") { pos++; return }
        if (substr(text, pos, 1) != "\"") exit 1
        name = string()
        skip()
        pos++ # the colon
        value(member(path, name))
    }
}

function array(path,    n) {
    pos++
    n = 0
    for (;;) {
        skip()
        if (pos > length(text)) exit 1
        if (substr(text, pos, 1) == ",") { pos++; continue }
        if (substr(text, pos, 1) == "]") { pos++; return }
        value(member(path, n++))
    }
}

function string(    out, c) {
    out = ""
    pos++
    for (;;) {
        # Long plain stretches (keys, certificates) are taken whole.
        if (match(substr(text, pos), /^[^"\\]+/)) {
            out = out substr(text, pos, RLENGTH)
            pos += RLENGTH
        }
        c = substr(text, pos, 1)
        if (c == "") exit 1
        pos++
        if (c == "\"") return out
        c = substr(text, pos, 1)
        pos++
        if (c == "n") out = out "\\n"
        else if (c == "t") out = out " "
        else if (c == "u") {
            out = out sprintf("%c", hex(substr(text, pos, 4)))
            pos += 4
        } else if (index("\"\\/", c)) out = out c
    }
}

function hex(digits,    i, n) {
    n = 0
    for (i = 1; i <= 4; i++)
        n = n * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
    return n
}
