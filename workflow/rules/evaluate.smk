rule evaluate:
    input:
        lambda wildcards: HEADRACE.needs("evaluate", wildcards.job),
    output:
        HEADRACE.receipt("evaluate"),
    log:
        HEADRACE.log("evaluate"),
    conda:
        "../../envs/headrace.yaml"
    threads: HEADRACE.default("evaluate", "threads")
    resources:
        mem_mb=HEADRACE.default("evaluate", "mem_mb"),
        runtime=HEADRACE.default("evaluate", "runtime"),
        gpu=0,
    params:
        job="{job}",
    shell:
        "headrace evaluate {output:q} --gpus {resources.gpu:q}"
        " --memory-mib {resources.mem_mb:q} --runtime-min {resources.runtime:q} --cores {threads:q}"
        " > {log:q} 2>&1"
