// What the pages do beyond reading: refresh their live part, copy, switch the theme, show times in the reader's zone.
(function () {
  "use strict";
  var PERIOD_MS = 3000;

  function localTimes(root) {
    root.querySelectorAll("time[datetime]").forEach(function (node) {
      var at = new Date(node.getAttribute("datetime"));
      if (!isNaN(at)) node.title = at.toLocaleString(document.documentElement.lang, { timeZoneName: "short" });
    });
  }

  function openParts(region) {
    return Array.from(region.querySelectorAll("details[id][open]"), function (node) { return node.id; });
  }

  function isInUse(region) {
    var selection = window.getSelection();
    var selected = selection && !selection.isCollapsed && region.contains(selection.anchorNode);
    return selected || (region !== document.activeElement && region.contains(document.activeElement));
  }

  function replace(region, html) {
    var open = openParts(region);
    var scrolled = Array.from(region.querySelectorAll(".sheet, pre"), function (node) { return node.scrollLeft; });
    region.innerHTML = html;
    open.forEach(function (id) { var node = document.getElementById(id); if (node) node.open = true; });
    region.querySelectorAll(".sheet, pre").forEach(function (node, i) { if (scrolled[i]) node.scrollLeft = scrolled[i]; });
    region.querySelectorAll("template[data-into]").forEach(function (node) { // what stands outside: state, actions
      var target = document.getElementById(node.dataset.into);
      if (target && !target.contains(document.activeElement)) target.replaceChildren(node.content.cloneNode(true));
    });
    localTimes(region);
  }

  function live(region) {
    var updated = Date.now();
    var stale = document.createElement("p");
    stale.className = "note note-waiting stale";
    stale.setAttribute("role", "status");
    stale.hidden = true;
    region.before(stale);

    function late() {
      stale.textContent = region.dataset.stale.replace("{n}", Math.round((Date.now() - updated) / 1000));
      stale.hidden = false;
    }

    async function refresh() {
      if (document.hidden) return;
      try {
        var answer = await fetch(region.dataset.live, { signal: AbortSignal.timeout(PERIOD_MS * 2), headers: { Accept: "text/html" } });
        if (answer.redirected) return location.reload(); // the session ended: the log-in page comes
        if (!answer.ok) return late();
        var html = await answer.text();
        updated = Date.now();
        stale.hidden = true;
        if (!isInUse(region)) replace(region, html);
      } catch (error) {
        late();
      }
    }

    (async function loop() {
      for (;;) {
        await new Promise(function (resolve) { setTimeout(resolve, PERIOD_MS); });
        await refresh();
      }
    })();
    document.addEventListener("visibilitychange", refresh);
  }

  function copy(button) {
    var source = document.getElementById(button.dataset.copy);
    var label = button.textContent;
    function done() {
      button.textContent = button.dataset.copied;
      setTimeout(function () { button.textContent = label; }, 2000);
    }
    if (navigator.clipboard) return navigator.clipboard.writeText(source.textContent).then(done);
    var range = document.createRange(); // plain http: no clipboard API
    range.selectNodeContents(source);
    var selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    if (document.execCommand("copy")) done();
  }

  function switchTheme() {
    var root = document.documentElement;
    var dark = root.classList.contains("dark") ||
      (!root.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
    root.classList.toggle("dark", !dark);
    root.classList.toggle("light", dark);
    try { localStorage.setItem("adminTheme", JSON.stringify(dark ? "light" : "dark")); } catch (error) { /* not kept */ }
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy], [data-theme-switch]");
    if (!button) return;
    if (button.dataset.copy) copy(button); else switchTheme();
  });
  document.querySelectorAll("details[data-wide-open]").forEach(function (node) {
    node.open = matchMedia("(min-width: 900px)").matches;
  });
  localTimes(document);
  document.querySelectorAll("[data-live]").forEach(live);
})();
