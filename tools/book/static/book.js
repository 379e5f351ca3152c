// One framework is shown at a time, everywhere: the root element's data-framework says which.
// It is taken from ?framework=jax in the address, or from the last choice.
(() => {
  const names = { torch: "PyTorch", mxnet: "MXNet", jax: "JAX", tensorflow: "TensorFlow" };
  const key = "d2l_ext.framework";
  const root = document.documentElement;

  const remembered = () => {
    try { return localStorage.getItem(key); } catch { return null; }
  };
  const remember = (name) => {
    try { localStorage.setItem(key, name); } catch { /* private browsing: this page only */ }
  };

  function show(name) {
    root.dataset.framework = name;
    for (const tab of document.querySelectorAll("[role=tab][data-name]")) {
      const selected = tab.dataset.name === name;
      tab.setAttribute("aria-selected", selected);
      tab.tabIndex = selected ? 0 : -1;
    }
  }

  // What is above the clicked tab may change its height: keep the tab where it is on the screen.
  function choose(tab) {
    const before = tab.getBoundingClientRect().top;
    show(tab.dataset.name);
    remember(tab.dataset.name);
    window.scrollBy({ top: tab.getBoundingClientRect().top - before, behavior: "instant" });
    const address = new URL(location);
    address.searchParams.set("framework", tab.dataset.name);
    history.replaceState(null, "", address);
  }

  function onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const tabs = [...event.currentTarget.children];
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    next.focus();
    choose(next);
  }

  function addTabs(block, number) {
    const list = document.createElement("div");
    list.className = "framework-tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Framework");
    for (const panel of [...block.children]) {
      const name = Object.keys(names).find((known) => panel.classList.contains(known));
      const tab = document.createElement("button");
      tab.type = "button";
      tab.textContent = names[name];
      tab.dataset.name = name;
      tab.id = `tab-${number}-${name}`;
      tab.setAttribute("role", "tab");
      panel.id = `panel-${number}-${name}`;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      tab.setAttribute("aria-controls", panel.id);
      tab.addEventListener("click", () => choose(tab));
      list.append(tab);
    }
    list.addEventListener("keydown", onKey);
    block.prepend(list);
  }

  function addCopyButton(block) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.querySelector("pre").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.append(button);
  }

  const asked = new URLSearchParams(location.search).get("framework");
  if (asked in names) remember(asked);
  const first = [asked, remembered(), "torch"].find((name) => name in names);
  root.dataset.framework = first;
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("div.frameworks").forEach(addTabs);
    if (navigator.clipboard) {
      document.querySelectorAll("div.highlight-python div.highlight").forEach(addCopyButton);
    }
    show(first);
    // The theme's sidebar has a title and a search field outside of any landmark.
    const sidebar = document.getElementById("pst-primary-sidebar");
    sidebar?.setAttribute("role", "region");
    sidebar?.setAttribute("aria-label", "Book");
  });

  // A page that is a file may not read the others, of which the search would show excerpts.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }
})();
