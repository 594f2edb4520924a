// The playground: asks the gateway as a program would, with a key for ten minutes, and shows the answer as it streams in.
// What a model says is only ever put in as text.
(function () {
  "use strict";
  var root = document.getElementById("playground");
  if (!root) return;
  var LEARN_MS = 400; // by then the gateway knows a new key
  var SPARE_MS = 60000; // a key that ends sooner is replaced before it is used
  var AGAIN_MS = [300, 600, 1200];
  var words = root.dataset;
  var $ = function (id) { return document.getElementById(id); };
  var model = $("play-model"), talk = $("play-talk"), filled = $("play-filled"), nothing = $("play-nothing");
  var history = [], running = null, key = null, minting = null, number = 0;

  function pause(ms) { return new Promise(function (resolve) { setTimeout(resolve, ms); }); }
  function counted(text, n) { return text.replace("{n}", n); }
  function grouped(n) { return Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f"); }

  // --- the key

  async function mint() {
    var form = new FormData();
    form.set("tenant", words.tenant);
    form.set("csrfmiddlewaretoken", root.querySelector("[name=csrfmiddlewaretoken]").value);
    var answer = await fetch(words.keyUrl, { method: "POST", body: form, headers: { Accept: "application/json" } });
    if (answer.redirected) { location.reload(); throw new Refused(401); } // the session ended: the log-in page comes
    var body = await answer.json().catch(function () { return {}; });
    if (!answer.ok) throw new Refused(answer.status < 500 ? 401 : answer.status, body.message || "", Boolean(body.message));
    key = { value: body.key, since: Date.now(), until: Date.now() + body.expires_in_s * 1000 };
    offer(body.models);
    return key;
  }

  async function liveKey() {
    if (key && key.until - Date.now() > SPARE_MS) return key;
    minting = minting || mint().finally(function () { minting = null; });
    return minting;
  }

  function ahead() { liveKey().catch(function () { /* said when it is needed */ }); }

  function offer(models) { // what is served may have changed since the page came
    if (!models.length) return;
    var chosen = model.value;
    model.replaceChildren.apply(model, models.map(function (one) {
      var option = new Option(one.name, one.name, false, one.name === chosen);
      option.dataset.fim = one.fim ? "1" : "";
      option.dataset.context = one.context;
      return option;
    }));
    modes();
  }

  // --- a request and its stream

  function Refused(status, message, plain) { this.status = status; this.message = message || ""; this.plain = plain; } // plain: says all

  async function post(path, body, shown, signal) {
    for (var attempt = 0; ; attempt++) {
      var live = await liveKey();
      await pause(Math.max(0, live.since + LEARN_MS - Date.now()));
      if (signal.aborted) throw new DOMException("stopped", "AbortError");
      shown.sent = performance.now();
      var answer = await fetch(path, {
        method: "POST", signal: signal, credentials: "omit", body: JSON.stringify(body),
        headers: { Authorization: "Bearer " + live.value, "Content-Type": "application/json" },
      });
      if (answer.status !== 401 || attempt >= AGAIN_MS.length) return answer;
      if (attempt === 0) key = null; // another window of this session took over
      await pause(AGAIN_MS[attempt]);
    }
  }

  async function events(stream, each) { // true when the stream ended as it should
    var reader = stream.pipeThrough(new TextDecoderStream()).getReader(), rest = "";
    for (;;) {
      var part = await reader.read();
      if (part.done) return false;
      var found = (rest + part.value).split("\n\n");
      rest = found.pop();
      for (var event of found) {
        if (!event.startsWith("data:")) continue; // a comment keeps the line open
        var data = event.slice(5).trim();
        if (data === "[DONE]") return true;
        each(JSON.parse(data));
      }
    }
  }

  async function ask(path, body, shown, signal) {
    var first = 0, last = 0, text = "", usage = null, finish = "";
    var answer = await post(path, body, shown, signal);
    shown.request(answer.headers.get("x-request-id") || "");
    var cut = /^prefix=(\d+), suffix=(\d+)$/.exec(answer.headers.get("x-coderack-fim-cut") || "");
    if (cut) shown.figure(counted(words.textCut, grouped(Number(cut[1]) + Number(cut[2]))));
    if (!answer.ok) {
      var failure = await answer.json().catch(function () { return {}; });
      throw new Refused(answer.status, (failure.error && failure.error.message) || "");
    }
    var whole = await events(answer.body, function (event) {
      if (event.error) throw new Refused(0, event.error.message || "");
      if (event.usage) usage = event.usage;
      var choice = event.choices && event.choices[0];
      if (!choice) return;
      var piece = choice.delta ? choice.delta.content : choice.text;
      if (piece) {
        last = performance.now();
        if (!first) { first = last; shown.figure("TTFT " + grouped(first - shown.sent) + " ms"); }
        text += piece;
        shown.append(piece);
      }
      finish = choice.finish_reason || finish;
    });
    if (!whole) throw new Refused(0);
    shown.figures(usage, first && last > first ? (last - first) / 1000 : 0);
    if (finish === "length") shown.figure(words.textLength);
    if (!text) shown.figure(words.textEmpty);
    return text;
  }

  // --- what is shown

  function node(tag, className, text) {
    var made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function atEnd(list) { return list.scrollHeight - list.scrollTop - list.clientHeight < 48; }

  function entry(list, who, kind, before, after) {
    var item = node("li", "said said-" + kind), body = node("div", "said-text"), text = document.createTextNode("");
    var figures = node("p", "muted said-figures");
    body.dir = "auto";
    if (before) body.append(node("span", "given", before));
    var live = kind === "model" && (before || after) ? node("ins") : node("span");
    live.append(text);
    body.append(live);
    if (after) body.append(node("span", "given", after));
    item.append(node("p", "said-who", who), body, figures);
    list.append(item);
    list.scrollTop = list.scrollHeight;
    function figure(what) { figures.append(node("span", "", what)); }
    return {
      sent: 0, item: item, figure: figure,
      append: function (piece) {
        var follow = atEnd(list);
        text.appendData(piece);
        if (follow) list.scrollTop = list.scrollHeight;
      },
      figures: function (usage, seconds) {
        if (!usage) return;
        var cached = (usage.prompt_tokens_details || {}).cached_tokens;
        if (seconds && usage.completion_tokens > 1) figure(counted(words.textRate, grouped((usage.completion_tokens - 1) / seconds)));
        figure(counted(words.textIn, grouped(usage.prompt_tokens)) + (cached ? " (" + counted(words.textCached, grouped(cached)) + ")" : ""));
        figure(counted(words.textOut, grouped(usage.completion_tokens)));
      },
      request: function (id) {
        if (!id) return;
        var code = node("code", "id", id), copy = node("button", "quiet", words.textCopy), line = node("span", "", words.textRequest + " ");
        code.id = "request-" + (++number);
        copy.type = "button";
        copy.dataset.copy = code.id;
        copy.dataset.copied = words.textCopied;
        line.append(code, copy);
        item.append(line);
        line.className = "muted said-request";
      },
      wrong: function (what, more) {
        var note = node("div", "note note-bad");
        note.setAttribute("role", "alert");
        note.append(node("p", "", what));
        if (more) note.append(node("p", "", more));
        body.after(note);
        list.scrollTop = list.scrollHeight;
      },
    };
  }

  function explain(error, shown) {
    if (error instanceof DOMException && error.name === "AbortError") return shown.figure(words.textStopped);
    if (!(error instanceof Refused)) return shown.wrong(shown.item.querySelector(".said-request") ? words.textBroke : words.textNetwork);
    if (error.plain) return shown.wrong(error.message);
    var said = error.status ? words["text-" + error.status] || words.textOther : words.textBroke;
    shown.wrong(said, error.message);
  }

  // --- asking

  function settings(body) {
    var temperature = $("play-temperature").value, most = $("play-max").value;
    if (temperature !== "") body.temperature = Number(temperature);
    if (most !== "") body.max_tokens = Number(most);
    body.model = model.value;
    body.stream = true;
    body.stream_options = { include_usage: true };
    return body;
  }

  function busy(on, list) {
    root.querySelectorAll("[data-send]").forEach(function (button) { button.hidden = on; });
    root.querySelectorAll("[data-stop]").forEach(function (button) { button.hidden = !on; });
    $("play-new").disabled = on;
    list.setAttribute("aria-busy", String(on)); // a reader hears the answer once, when it is whole
    $("play-status").textContent = on ? words.textWorking : words.textDone;
  }

  async function run(path, body, list, shown) { // the whole answer, or null
    running = new AbortController();
    busy(true, list);
    try {
      return await ask(path, body, shown, running.signal);
    } catch (error) {
      explain(error, shown);
      return null;
    } finally {
      running = null;
      busy(false, list);
    }
  }

  async function chat() {
    var box = $("play-message"), said = box.value, system = $("play-system").value;
    nothing.hidden = true;
    entry(talk, words.textYou, "user").append(said);
    box.value = "";
    var messages = (system.trim() ? [{ role: "system", content: system }] : []).concat(history, [{ role: "user", content: said }]);
    var shown = entry(talk, model.value, "model");
    var answer = await run("/v1/chat/completions", settings({ messages: messages }), talk, shown);
    var heard = shown.item.querySelector(".said-text").textContent;
    if (heard) history.push({ role: "user", content: said }, { role: "assistant", content: heard });
    else if (answer === null && !box.value) box.value = said; // nothing came: it is not lost
    box.focus();
  }

  async function fill() {
    var before = $("play-before").value, after = $("play-after").value;
    filled.replaceChildren();
    var shown = entry(filled, model.value, "model", before, after);
    await run("/beta/completions", settings({ prompt: before, suffix: after }), filled, shown);
  }

  function stop() { if (running) running.abort(); }

  // --- chat or fill in the middle

  function show(mode) {
    ["chat", "fim"].forEach(function (name) {
      var chosen = name === mode, tab = $("tab-" + name);
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      $("play-" + name).hidden = !chosen;
    });
    root.querySelectorAll("[data-mode-of]").forEach(function (part) { part.hidden = part.dataset.modeOf !== mode; });
  }

  function modes() {
    var option = model.selectedOptions[0], fim = Boolean(option && option.dataset.fim);
    $("play-modes").hidden = !fim;
    if (!fim) show("chat");
    if (option) $("play-max").max = option.dataset.context;
  }

  root.addEventListener("submit", function (event) {
    event.preventDefault();
    if (running || !event.target.dataset.ask || !$("play-settings").reportValidity()) return;
    if (event.target.dataset.ask === "fim") fill(); else chat();
  });
  root.addEventListener("click", function (event) {
    var tab = event.target.closest("[data-mode]");
    if (tab) show(tab.dataset.mode);
    if (event.target.closest("[data-stop]")) stop();
  });
  root.addEventListener("keydown", function (event) {
    if (event.isComposing) return; // a word is being put together from keys
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form) event.target.form.requestSubmit();
    if (event.key === "Escape") stop();
    if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && event.target.dataset.mode) {
      var other = event.target.dataset.mode === "chat" ? "fim" : "chat";
      show(other);
      $("tab-" + other).focus();
    }
  });
  $("play-new").addEventListener("click", function () {
    history = [];
    talk.replaceChildren();
    nothing.hidden = false;
    $("play-message").focus();
  });
  model.addEventListener("change", modes);
  root.addEventListener("focusin", function (event) { if (event.target.form && event.target.form.dataset.ask) ahead(); });
  modes();
})();
