// Sets light or dark before the page is painted. The choice is shared with the record editor (its key and its JSON string).
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("scripted");
  try {
    var chosen = JSON.parse(localStorage.getItem("adminTheme") || '"auto"');
    if (chosen === "dark" || chosen === "light") root.classList.add(chosen);
  } catch (error) { /* no storage, or not our value: follow the system */ }
})();
