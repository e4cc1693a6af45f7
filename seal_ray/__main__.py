from seal_ray.cli.app import main

main()
