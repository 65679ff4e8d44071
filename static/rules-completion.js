// What may stand at a place of a rule file, by the JSON Schema of rule files. No part of it touches the page.
"use strict";

const RuleCompletion = (() => {
  // One line of YAML in block style: blanks, dashes of lists, and a key where there is one.
  const LINE = /^(\s*)((?:-\s+)*)(?:("[^"]*"|'[^']*'|[^\s#:{}[\],"'][^:{}[\],]*?)\s*:(?=\s|$))?/;

  // What stands in a line, from left to right: dashes and a key, each with its column.
  function elements(found) {
    const made = [];
    for (const dash of found[2].matchAll(/-/g)) made.push({ column: found[1].length + dash.index, step: 0 });
    if (found[3] !== undefined) made.push({ column: found[1].length + found[2].length, step: bare(found[3]) });
    return made;
  }

  // The keys that lead to the cursor, and whether a value or a key stands there. A 0 in the path is a list's item.
  function place(lines, row, column) {
    const line = lines[row].slice(0, column);
    const own = LINE.exec(line);
    const here = elements(own);
    const path = here.map((each) => each.step);
    let top = here[0] || { column: own[0].length, step: "" };
    for (let at = row - 1; at >= 0 && (top.column > 0 || top.step === 0); at -= 1) {
      const text = lines[at];
      if (!text.trim() || text.trim().startsWith("#")) continue;
      for (const each of elements(LINE.exec(text)).reverse()) {
        // A list may stand as far left as the key it belongs to.
        const around = each.column < top.column
          || (each.column === top.column && top.step === 0 && each.step !== 0);
        if (!around) continue;
        path.unshift(each.step);
        top = each;
      }
    }
    return flow(line.slice(own[0].length), path, own[3] !== undefined);
  }

  function bare(key) { return key.replace(/^["']|["']$/g, "").trim(); }

  // Mappings and lists within one line: {subject: {contains: x}} and [update, hold].
  function flow(text, path, value) {
    let here = [...path];
    const stack = [];
    let word = "";
    let quote = "";
    let inside = value;
    for (const sign of text) {
      if (quote) { if (sign === quote) quote = ""; else word += sign; continue; }
      if ((sign === '"' || sign === "'") && !word.trim()) { quote = sign; continue; }
      if (sign === "{" || sign === "[") {
        stack.push([here, inside]);
        here = sign === "[" ? [...here, 0] : [...here];
        inside = sign === "[";
        word = "";
        if (sign === "{") stack[stack.length - 1].push("{"); else stack[stack.length - 1].push("[");
      } else if (sign === "}" || sign === "]") {
        if (stack.length) { [here, inside] = stack.pop(); }
        word = "";
      } else if (sign === ":" && stack.length) {
        here = [...here, bare(word)];
        inside = true;
        word = "";
      } else if (sign === "," && stack.length) {
        const [outer, , kind] = stack[stack.length - 1];
        here = kind === "[" ? [...outer, 0] : [...outer];
        inside = kind === "[";
        word = "";
      } else {
        word += sign;
      }
    }
    // A lone word after a dash may be a value, or the beginning of a key.
    return { path: here, value: inside, both: !inside || here[here.length - 1] === 0, quoted: quote !== "" };
  }

  function resolve(schema, root) {
    let found = schema;
    for (let depth = 0; found && found.$ref && depth < 20; depth += 1) {
      const rest = { ...found };
      delete rest.$ref;
      found = { ...root.definitions[found.$ref.replace("#/definitions/", "")], ...rest };
    }
    return found;
  }

  // A schema and all that it is made of.
  function parts(schema, root, depth = 0) {
    const found = resolve(schema, root);
    if (!found || typeof found !== "object" || depth > 8) return [];
    const inner = ["allOf", "anyOf", "oneOf"].flatMap((name) => found[name] || []);
    for (const name of ["then", "else"]) if (found[name]) inner.push(found[name]);
    return [found, ...inner.flatMap((each) => parts(each, root, depth + 1))];
  }

  function below(schemas, step, root) {
    return schemas.flatMap((each) => {
      if (step === 0) return each.items ? parts(each.items, root) : [];
      if (each.properties && each.properties[step]) return parts(each.properties[step], root);
      return typeof each.additionalProperties === "object" ? parts(each.additionalProperties, root) : [];
    });
  }

  // What may stand there: {word, told, key}.
  function offers(root, text, row, column) {
    const lines = text.split("\n");
    const at = place(lines, row, column);
    let schemas = parts(root, root);
    for (const step of at.path) schemas = below(schemas, step, root);
    const found = new Map();
    const add = (word, told, key) => {
      if (!found.has(word)) found.set(word, { word, told: told || "", key });
    };
    for (const each of schemas) {
      if (at.value || at.both) {
        for (const word of each.enum || []) add(String(word), each.description, false);
        if (each.const !== undefined) add(String(each.const), each.description, false);
        if ([each.type].flat().includes("boolean")) { add("true", each.description, false); add("false", each.description, false); }
      }
      if (!at.value || at.both) {
        for (const [word, inner] of Object.entries(each.properties || {})) {
          add(word, (resolve(inner, root) || {}).description, true);
        }
      }
    }
    return [...found.values()];
  }

  return { place, offers };
})();

if (typeof module !== "undefined") module.exports = RuleCompletion;
