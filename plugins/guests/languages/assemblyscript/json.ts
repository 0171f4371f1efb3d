// Finds its way in JSON that a host wrote: well-formed, so that nothing is
// checked but what is looked for. A value is where it begins in the document;
// -1 is none.

export class JSON {
  constructor(private text: string) {}

  private at(p: i32): i32 {
    return p < this.text.length ? this.text.charCodeAt(p) : 0;
  }

  blanks(p: i32): i32 {
    while (this.at(p) == 0x20 || (this.at(p) >= 9 && this.at(p) <= 13)) p++;
    return p;
  }

  private afterString(p: i32): i32 {
    for (p++; this.at(p) && this.at(p) != 0x22; p++) if (this.at(p) == 0x5c) p++; // " and \
    return p + 1;
  }

  private after(p: i32): i32 {
    for (let open = 0; this.at(p); p++) {
      const c = this.at(p);
      const closes = c == 0x7d || c == 0x5d; // } ]
      if (open == 0 && (closes || c == 0x2c || c == 0x3a)) break; // , :
      if (closes) open--;
      if (c == 0x7b || c == 0x5b) open++; // { [
      if (c == 0x22) p = this.afterString(p) - 1;
    }
    return p;
  }

  // next is the value after the one at p, in an array or object.
  next(p: i32): i32 {
    p = this.after(p);
    return this.at(p) == 0x2c || this.at(p) == 0x3a ? this.blanks(p + 1) : -1;
  }

  // first is the first value in the array or object at p.
  first(p: i32, open: i32): i32 {
    if (p < 0 || this.at(p) != open) return -1;
    p = this.blanks(p + 1);
    return this.at(p) == 0x7d || this.at(p) == 0x5d ? -1 : p;
  }

  // member is the value of a member of the object at p.
  member(p: i32, name: string): i32 {
    for (let key = this.first(p, 0x7b); key >= 0; ) {
      const value = this.next(key);
      if (value < 0 || this.string(key) == name) return value;
      key = this.next(value);
    }
    return -1;
  }

  // string is the string at p, decoded; empty if there is none.
  string(p: i32): string {
    if (p < 0 || this.at(p) != 0x22) return "";
    let out = "";
    let plain = ++p; // where the part without an escape began
    for (; this.at(p) && this.at(p) != 0x22; p++) {
      if (this.at(p) != 0x5c) continue;
      out += this.text.substring(plain, p);
      const c = this.at(++p);
      if (c == 0x75) { // u
        out += String.fromCharCode(<i32>I32.parseInt(this.text.substr(p + 1, 4), 16));
        p += 4;
      } else {
        const known = "bfnrt".indexOf(String.fromCharCode(c));
        out += known < 0 ? String.fromCharCode(c) : "\b\f\n\r\t".charAt(known);
      }
      plain = p + 1;
    }
    return out + this.text.substring(plain, p);
  }

  integer(p: i32): i32 {
    return p < 0 ? 0 : <i32>I32.parseInt(this.text.substring(p, this.after(p)));
  }
}
