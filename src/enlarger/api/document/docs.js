// Starts Swagger UI on the document of the service that the page comes from.
"use strict";

(async () => {
  // Relative to the page, so that it works below any path of a proxy.
  const here = new URL(".", location.href).href.replace(/\/$/, "");
  const answer = await fetch(`${here}/openapi.json`);
  const spec = await answer.json();
  const shown = spec.servers?.[0].url ?? "http://localhost:8000";
  // "Try it out" calls the service where the browser found it, which is also all that the page's policy allows.
  spec.servers = [{ url: here }];
  for (const path of Object.values(spec.paths)) {
    for (const operation of Object.values(path)) {
      const commands = (operation["x-codeSamples"] ?? []).map((sample) => "```sh\n" + sample.source.replaceAll(shown, here) + "\n```");
      operation.description = [operation.description, ...commands].filter(Boolean).join("\n\n");
    }
  }
  window.ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    validatorUrl: null,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    defaultModelExpandDepth: 2, // so that the options of a JSON body show their defaults
    presets: [SwaggerUIBundle.presets.apis],
  });
})();
