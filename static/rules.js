// The editor of rule files: Ace in place of the textarea, completion by the JSON Schema, problems as one types.
// Without it the textarea and the buttons do the same.
"use strict";

(() => {
  const form = document.getElementById("edit");
  const area = document.getElementById("text");
  const list = document.getElementById("found");
  if (!form || !window.ace) return;

  ace.config.set("useStrictCSP", true);
  ace.config.set("basePath", form.dataset.ace);
  ace.config.set("loadWorkerFromBlob", false);
  const box = document.createElement("div");
  area.after(box);
  area.hidden = true;
  const editor = ace.edit(box, {
    mode: "ace/mode/yaml",
    useWorker: false,
    value: area.value,
    readOnly: area.readOnly,
    tabSize: 2,
    useSoftTabs: true,
    wrap: window.matchMedia("(max-width: 40rem)").matches,
    showPrintMargin: false,
    enableKeyboardAccessibility: true,
    textInputAriaLabel: document.querySelector("label[for=text]").textContent,
    enableBasicAutocompletion: true,
    enableLiveAutocompletion: true,
    scrollPastEnd: 0.3,
  });
  editor.renderer.setTheme({ cssClass: "ace-postroom", isDark: false, cssText: "" });
  editor.session.setUseWorker(false);
  document.getElementById("help").hidden = false;

  // What was typed goes into the form: on every way it may be sent.
  let saved = editor.getValue();
  let sending = false;
  form.addEventListener("submit", () => { area.value = editor.getValue(); sending = true; });
  window.addEventListener("beforeunload", (event) => {
    if (!sending && editor.getValue() !== saved) event.preventDefault();
  });
  window.addEventListener("pageshow", () => { sending = false; });
  const save = form.querySelector("button[value=save]");
  if (save) {
    editor.commands.addCommand({
      name: "saveDraft", bindKey: { win: "Ctrl-S", mac: "Command-S" }, exec: () => save.click(),
    });
  }
  if (form.dataset.line) editor.gotoLine(Number(form.dataset.line), 0, false);

  // Problems
  let timer = 0;
  let asked = 0;
  function later(milliseconds) {
    clearTimeout(timer);
    timer = setTimeout(check, milliseconds);
  }
  async function check() {
    const number = asked += 1;
    const body = new URLSearchParams({
      csrf_token: form.elements.csrf_token.value, path: form.dataset.path, text: editor.getValue(),
    });
    let answer;
    try {
      const response = await fetch(form.dataset.check, { method: "POST", body });
      if (!(response.headers.get("Content-Type") || "").startsWith("application/json")) {
        throw new Error(response.redirected ? "log in again" : `the answer was ${response.status}`);
      }
      answer = await response.json();
    } catch (error) {
      if (number === asked) say(`The text could not be checked: ${error.message}.`, "quiet");
      return;
    }
    // An answer to an older text is of no use.
    if (number !== asked) return;
    if (answer.busy) { later(3000); return; }
    show(answer.problems);
  }
  function say(sentence, look) {
    const line = document.createElement("p");
    line.className = look;
    line.textContent = sentence;
    list.replaceChildren(line);
  }
  function show(problems) {
    const own = problems.filter((each) => each.file === form.dataset.path);
    editor.session.setAnnotations(own.map((each) => (
      { row: each.line - 1, column: each.column - 1, text: each.message, type: "error" }
    )));
    if (!problems.length) { say("None: the rules are well with this text.", "fine"); return; }
    const rows = document.createElement("ul");
    rows.className = "problem-list";
    for (const each of problems.slice(0, 50)) {
      const row = document.createElement("li");
      const link = document.createElement("a");
      const spot = document.createElement("code");
      spot.textContent = `${each.file}:${each.line}:${each.column}`;
      link.append(spot);
      link.href = `?path=${encodeURIComponent(each.file)}&line=${each.line}`;
      if (each.file === form.dataset.path) {
        link.addEventListener("click", (event) => {
          event.preventDefault();
          editor.gotoLine(each.line, each.column - 1, false);
          editor.focus();
        });
      }
      const told = document.createElement("span");
      told.textContent = ` ${each.message}`;
      row.append(link, told);
      rows.append(row);
    }
    list.replaceChildren(rows);
  }
  editor.session.on("change", () => later(600));
  later(50);

  // Completion
  let schema = null;
  fetch(form.dataset.schema).then((response) => response.json()).then((found) => { schema = found; }, () => {});
  const completer = {
    identifierRegexps: [/[\w+.\-]/],
    getCompletions(_, session, position, prefix, done) {
      // In a comment Enter must stay a new line.
      const before = session.getLine(position.row).slice(0, position.column);
      if (!schema || /(^|\s)#/.test(before.replace(/"[^"]*"|'[^']*'/g, ""))) { done(null, []); return; }
      const found = RuleCompletion.offers(schema, session.getValue(), position.row, position.column - prefix.length);
      const after = session.getLine(position.row).slice(position.column);
      done(null, found.map((each, at) => ({
        caption: each.word,
        value: each.key && !/^\s*:/.test(after) ? `${each.word}: ` : each.word,
        meta: each.key ? "key" : "value",
        // In the order of the schema, which is that of importance; values before keys.
        score: (each.key ? 1000 : 2000) - at,
        docText: each.told,
      })));
    },
  };
  editor.completers = [completer];
  // The list belongs to the page's main part, and is left and entered by the editor's own keys: no stop for Tab.
  const popups = ace.require("ace/autocomplete").Autocomplete.for(editor);
  popups.parentNode = document.querySelector("main");
  const make = popups.$init;
  popups.$init = function init(...given) {
    const popup = make.apply(this, given);
    popup.textInput.getElement().tabIndex = -1;
    return popup;
  };
})();
